"""Features made once and kept on disk, for every protocol and every later evaluation."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn

from mast_plugin.errors import DataError
from mast_plugin.evaluation import version
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.network.weight_file import sha256_of
from mast_plugin.running.run import write_json

_FORMAT = 1
"""Raised whenever an entry is written otherwise than before."""
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FeatureStore:
    """Features of a frozen backbone, one file for each network, set of images and view.

    Where the code that loads images or makes views is of another version, that is another view.

    An entry is ``<key>.npy``, (N, F) float32, and ``<key>.json``, which says what it holds and is
    written last; both are written beside their place and then moved there. An entry that is
    damaged, half written or not there is made (again). Only features of the backbone are kept:
    embeddings and subspaces cost one small matrix product (:func:`project`).

    Attributes:
        folder: created when needed; ``None`` keeps nothing.
        batch_size: images per forward pass.
        device: where to run the backbone.
        workers: processes that read images; 0 reads them in this process.
        progress: as ``shown`` of :func:`mast_plugin.running.progress.progress`.
    """

    folder: Path | None
    batch_size: int = 256
    device: torch.device | str = "cpu"
    workers: int = 0
    progress: bool | None = None

    def features(
        self,
        backbone: nn.Module,
        checkpoint_sha256: str,
        files: Sequence[Path],
        view: ViewStatistics,
    ) -> Tensor:
        """Look features up, or make and keep them.

        Args:
            backbone: maps (N, 3, H, W) images to (N, F) features; used in evaluation mode.
            checkpoint_sha256: of the file that the backbone's weights come from.
            files: the N images.
            view: size and normalisation of the centred view that the features are of.

        Returns:
            (N, F) float32, in the order of the files, on the CPU; memory-mapped where they are
            kept. Writing to it does not change what is kept.

        Raises:
            DataError: an image is missing or cannot be read, or the folder cannot be written.
        """
        if self.folder is None:
            return self._extract(backbone, files, view)
        identity = {
            "format": _FORMAT,
            "versions": {"loading": version.LOADING, "views": version.VIEWS},
            "space": "backbone",
            "checkpoint": checkpoint_sha256,
            # The same weights run differently in another network, such as with another stem.
            "network": hashlib.sha256(repr(backbone).encode()).hexdigest(),
            "view": asdict(view),
            "files": fingerprint(files),
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        array = self.folder / f"{key}.npy"
        kept = _read(array, len(files))
        if kept is None:
            try:
                self._make(array, backbone, files, view, identity)
            except OSError as error:
                raise DataError(
                    f"features cannot be kept in {self.folder} ({error}): free some space, name "
                    "another folder with cache=FOLDER, or keep none with cache=false"
                ) from error
            kept = np.load(array, mmap_mode="c")
        return torch.from_numpy(kept)

    def _extract(
        self, backbone: nn.Module, files: Sequence[Path], view: ViewStatistics, **options: Any
    ) -> Tensor:
        return extract_features(
            backbone,
            files,
            view.centred(),
            reading=view.reading,
            batch_size=self.batch_size,
            device=self.device,
            workers=self.workers,
            progress=self.progress,
            **options,
        )

    def _make(
        self,
        array: Path,
        backbone: nn.Module,
        files: Sequence[Path],
        view: ViewStatistics,
        identity: dict[str, Any],
    ) -> None:
        array.parent.mkdir(parents=True, exist_ok=True)
        unfinished = array.with_name(f".{array.stem}-{os.getpid()}.npy")

        def allocate(shape: tuple[int, int]) -> NDArray[np.float32]:
            mapped = open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
            _allocate(unfinished)
            return mapped

        try:
            features = self._extract(backbone, files, view, out=allocate)
            shape = list(features.shape)
            del features  # closes the map, so that all of it is in the file
            content = {**identity, "shape": shape, "sha256": sha256_of(unfinished)}
            unfinished.replace(array)
            try:
                write_json(array.with_suffix(".json"), content)
            except BaseException:
                array.unlink()
                raise
        finally:
            unfinished.unlink(missing_ok=True)


def _allocate(path: Path) -> None:
    """Have the disk set all blocks of a file aside.

    A file is made with holes, and what is written into the map of a hole that the disk has no room
    for ends the process (SIGBUS) without a word.

    Raises:
        OSError: there is no room.
    """
    size = path.stat().st_size
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
                raise
            for start in range(0, size, _BLOCK):  # as the C library does where it can
                file.seek(start)
                part = file.read(_BLOCK)
                file.seek(start)
                file.write(part)


def project(
    projector: Callable[[Tensor], Tensor],
    features: Tensor,
    *,
    batch_size: int = 4096,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Map features to another space, batch by batch.

    Args:
        projector: maps (N, F) to (N, D); a module is used in evaluation mode and stays on
            ``device``.
        features: (N, F), on the CPU.
        batch_size: rows per pass.
        device: where to run the projector.

    Returns:
        (N, D) float32 on the CPU.
    """
    if isinstance(projector, nn.Module):
        projector.to(device).eval()
    with torch.inference_mode():
        parts = [
            projector(part.to(device)).float().cpu() for part in torch.split(features, batch_size)
        ]
    return torch.cat(parts)  # outside of inference mode, so that a classifier can be trained on it


def fingerprint(files: Sequence[Path]) -> str:
    """Digest of the files' names, sizes and times; reading all of them would take too long.

    Raises:
        DataError: a file is missing.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"The image {file} cannot be read: {error}.") from error
        digest.update(os.fsencode(file.resolve()))
        digest.update(f"\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(array: Path, num_images: int) -> NDArray[np.float32] | None:
    """An entry's features; ``None`` where it is damaged or not there."""
    try:
        note = json.loads(array.with_suffix(".json").read_text(encoding="utf-8"))
        if note["sha256"] != sha256_of(array):
            return None
        features: NDArray[np.float32] = np.load(array, mmap_mode="c")
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    fits = features.ndim == 2 and len(features) == num_images and features.dtype == np.float32
    return features if fits else None
