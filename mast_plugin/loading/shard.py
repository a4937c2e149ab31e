"""Images in tar shards (WebDataset's layout), read in place through an index.

A sample's files share a name up to the first dot and follow each other in the tar: ``0007.jpg``,
``0007.cls``. The index of ``a.tar`` is ``a.idx`` beside it, in the format of DALI's ``wds2idx``;
where there is none, it is made, and kept if the folder can be written to.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch.utils.data import Dataset

from mast_plugin.errors import DataError
from mast_plugin.loading.image import AS_SHOWN, SUFFIXES, Reading, check_images, decoded
from mast_plugin.loading.image_table import MAX_CLASSES
from mast_plugin.loading.shard_index import Entry, read_index

IMAGE_SUFFIXES = tuple(suffix.removeprefix(".") for suffix in SUFFIXES)
LABEL_SUFFIXES = ("cls",)

_WINDOW = 8
"""Shards whose samples are mixed with each other in an epoch; the shards' order is random."""

_LABEL_BYTES = 32


class TarImages(Dataset[Any]):
    """Images of tar shards, in the order of the shards' names and of the samples in them.

    Args:
        tars: the shards.
        labelled: read each sample's label, a whole number in its ``.cls`` file.
        reading: how files become images.

    Raises:
        DataError: a shard that cannot be read, shards without images, or a sample that has not
            exactly one image and, where labelled, one label.
    """

    def __init__(self, tars: Sequence[Path], labelled: bool, reading: Reading = AS_SHOWN) -> None:
        self.reading = reading
        self.tars = [str(tar) for tar in sorted(tars)]
        shards, places, labels = [], [], []
        for shard, tar in enumerate(self.tars):
            for entries in read_index(Path(tar)):
                image = _member(entries, IMAGE_SUFFIXES, tar, "image")
                shards.append(shard)
                places.append((image.offset, image.size))
                labels.append(_label(entries, tar) if labelled else 0)
        self._shards = np.array(shards, np.int32)
        self._places = np.array(places, np.int64).reshape(-1, 2)
        self.labels = np.array(labels, np.int64)
        self._files: dict[int, int] = {}
        if not shards:
            raise DataError(f"{self.tars[0]} holds no images: make it again, with some in it")
        count = f"{len(shards):,} image{'s' if len(shards) != 1 else ''}"
        within = f" in {len(set(labels))} classes" if labelled else ""
        more = f" and {len(tars) - 1} more shards hold" if len(tars) > 1 else " holds"
        self.notes = [f"{self.tars[0]}{more} {count}{within}"]

    @property
    def classes(self) -> range:
        """One entry per label."""
        return range(1 + int(self.labels.max(initial=-1)))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.open(index), int(self.labels[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # every process opens its own

    def open(self, index: int) -> Image.Image:
        """Decode an image as RGB.

        Raises:
            DataError: it cannot be decoded.
        """
        return decoded(io.BytesIO(self.encoded(index)), self.name(index), self.reading)

    def check(self, step: int = 1) -> None:
        """Decode the images once; every how many-th one, ``step`` says.

        Raises:
            DataError: naming those that cannot be decoded.
        """
        check_images(range(0, len(self), step), self.open)

    def name(self, index: int) -> str:
        """Shard and position of an image, for messages."""
        offset, size = self._places[index]
        return f"{self.tars[self._shards[index]]} (bytes {offset} to {offset + size})"

    def encoded(self, index: int) -> bytes:
        """An image's bytes as they are in its shard."""
        offset, size = (int(number) for number in self._places[index])
        return os.pread(self._file(index), size, offset)

    def expect(self, indexes: Iterable[int]) -> None:
        """Have the system read images ahead that will be asked for soon."""
        for index in indexes:
            offset, size = (int(number) for number in self._places[index])
            os.posix_fadvise(self._file(index), offset, size, os.POSIX_FADV_WILLNEED)

    def shuffled(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """A random order that reads a few shards at a time: shards first, then samples in a group.

        Args:
            rng: source of randomness.
        """
        bounds = np.searchsorted(self._shards, np.arange(len(self.tars) + 1))
        order = rng.permutation(len(self.tars))
        groups = [order[first : first + _WINDOW] for first in range(0, len(order), _WINDOW)]
        return np.concatenate(
            [
                rng.permutation(np.concatenate([np.arange(*bounds[s : s + 2]) for s in group]))
                for group in groups
            ]
        )

    def _file(self, index: int) -> int:
        shard = int(self._shards[index])
        if shard not in self._files:
            self._files[shard] = os.open(self.tars[shard], os.O_RDONLY)
        return self._files[shard]


def _member(entries: Sequence[Entry], suffixes: Sequence[str], tar: str, kind: str) -> Entry:
    """The one file of a kind that a sample has."""
    found = [entry for entry in entries if entry.suffix.rpartition(".")[2] in suffixes]
    if len(found) == 1:
        return found[0]
    names = ", ".join(entry.name or entry.suffix for entry in found or entries)[:100]
    if found:
        raise DataError(
            f"{tar} has a sample with {len(found)} {kind} files ({names}): leave one, or name them "
            "otherwise before the first dot, up to which a sample's files share their name"
        )
    raise DataError(
        f"{tar} has a sample ({names}) without .{suffixes[0]} file: add it or remove the sample"
    )


def _label(entries: Sequence[Entry], tar: str) -> int:
    entry = _member(entries, LABEL_SUFFIXES, tar, "label")
    with Path(tar).open("rb") as file:
        file.seek(entry.offset)
        text = file.read(min(entry.size, _LABEL_BYTES))
    try:
        label = int(text)
    except ValueError:
        label = -1
    if not 0 <= label < MAX_CLASSES:
        raise DataError(
            f"{tar} has the label {text!r} ({entry.name[:100]}), which is not a whole number below "
            f"{MAX_CLASSES:,}: number the classes, or set data.no_labels=true"
        )
    return label
