"""Features of images: a backbone's output, as it is, for a list of files."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mast_plugin.errors import DataError
from mast_plugin.loading.image import AS_SHOWN, Reading, load_image
from mast_plugin.running.progress import progress as progress_bar

View: TypeAlias = Callable[[Image.Image], Tensor]
Allocate: TypeAlias = Callable[[tuple[int, int]], NDArray[np.float32]]


class ImageFiles(Dataset[Tensor]):
    """Image files, opened as RGB and turned into tensors by ``view``."""

    def __init__(self, files: Sequence[Path], view: View, reading: Reading) -> None:
        self._files = files
        self._view = view
        self._reading = reading

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        return self._view(load_image(str(self._files[index]), self._reading))


def extract_features(
    backbone: nn.Module,
    files: Sequence[Path],
    view: View,
    *,
    reading: Reading = AS_SHOWN,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    workers: int = 0,
    progress: bool | None = False,
    out: Allocate | None = None,
) -> Tensor:
    """Runs a backbone over image files, in evaluation mode.

    The backbone stays on ``device``; its training modes are restored afterwards, and the global
    random state is left alone, so that measuring a network before its training does not change
    the training.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features; further dimensions are flattened.
        files: the N images.
        view: turns an image into a (3, H, W) tensor, of the same size for every image.
        reading: how files become images.
        batch_size: images per forward pass.
        device: where to run the backbone.
        workers: processes that read images; 0 reads them in this process.
        progress: as ``shown`` of :func:`mast_plugin.running.progress.progress`.
        out: makes the float32 array of the shape (N, F) that is filled batch by batch, for example
            a memory-mapped one; by default one in memory.

    Returns:
        (N, F) float32 features, in the order of the files, on the CPU; they share their memory with
        what ``out`` makes.

    Raises:
        DataError: an image cannot be read, or there are none.
    """
    loader = DataLoader(
        ImageFiles(files, view, reading),
        batch_size=batch_size,
        num_workers=workers,
        multiprocessing_context=worker_context(workers),
        generator=torch.Generator(),  # otherwise the loader draws a seed from the global one
    )
    features: NDArray[np.float32] | None = None
    done = 0
    bar = progress_bar(None, "Features", total=len(files), unit="image", shown=progress)
    with bar, evaluating(backbone.to(device)), torch.inference_mode():
        for images in loader:
            part = backbone(images.to(device)).flatten(1).float().cpu().numpy()
            if features is None:
                shape = (len(files), part.shape[1])
                features = np.empty(shape, np.float32) if out is None else out(shape)
            features[done : done + len(part)] = part
            done += len(part)
            bar.update(len(part))
    if features is None:
        raise DataError("There are no images to make features of; name at least one.")
    return torch.from_numpy(features)  # no inference tensor, so a classifier can be trained on it


def worker_context(workers: int) -> str | None:
    """How loading processes are started: as torch does by default, whatever this process is.

    Under Hydra's joblib launcher the default is a way of joblib's own, where torch's loaders fail.

    Args:
        workers: number of loading processes; ``None`` is returned for none, as torch wants it.
    """
    if workers == 0 or "fork" not in multiprocessing.get_all_start_methods():
        return None
    return "fork"


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is back in its own mode (a part may be frozen)."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
