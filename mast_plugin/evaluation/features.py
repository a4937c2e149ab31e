"""Features of images: a backbone's output, as it is, for a list of files."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mast_plugin.errors import DataError

View: TypeAlias = Callable[[Image.Image], Tensor]


class _ImageFiles(Dataset[Tensor]):
    """Image files, opened as RGB and turned into tensors by ``view``."""

    def __init__(self, files: Sequence[Path], view: View) -> None:
        self._files = files
        self._view = view

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Tensor:
        file = self._files[index]
        try:
            with Image.open(file) as image:
                return self._view(image.convert("RGB"))
        except OSError as error:
            raise DataError(f"The image {file} cannot be read: {error}.") from error


def extract_features(
    backbone: nn.Module,
    files: Sequence[Path],
    view: View,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Tensor:
    """Runs a backbone over image files, in evaluation mode.

    The backbone stays on ``device``; its training modes are restored afterwards, and the global
    random state is left alone, so that measuring a network before its training does not change
    the training.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features; further dimensions are flattened.
        files: the N images.
        view: turns an image into a (3, H, W) tensor, of the same size for every image.
        batch_size: images per forward pass.
        device: where to run the backbone.
        workers: processes that read images; 0 reads them in this process.

    Returns:
        (N, F) float32 features, in the order of the files, on the CPU.

    Raises:
        DataError: an image cannot be read.
    """
    loader = DataLoader(
        _ImageFiles(files, view),
        batch_size=batch_size,
        num_workers=workers,
        generator=torch.Generator(),  # otherwise the loader draws a seed from the global one
    )
    with _evaluating(backbone.to(device)), torch.inference_mode():
        parts = [backbone(images.to(device)).flatten(1).float().cpu() for images in loader]
    return torch.cat(parts)  # outside of inference mode, so that a classifier can be trained on it


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is back in its own mode (a part may be frozen)."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
