"""Images in tar shards (WebDataset's layout), read in place through an index.

A sample's files share a name up to the first dot and follow each other in the tar: ``0007.jpg``,
``0007.cls``. The index of ``a.tar`` is ``a.idx`` beside it, in the format of DALI's ``wds2idx``;
where there is none, it is made, and kept if the folder can be written to.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch.utils.data import Dataset

from mast_plugin.errors import DataError

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp")
LABEL_SUFFIXES = ("cls",)

_VERSION = "v1.2"
_WINDOW = 8
"""Shards whose samples are mixed with each other in an epoch; the shards' order is random."""


@dataclass(frozen=True)
class Entry:
    """A file inside a tar: its suffix, where its bytes start, how many there are, its name."""

    suffix: str
    offset: int
    size: int
    name: str


def write_index(tar: Path, index: Path) -> None:
    """Write the index of a tar, one line per sample.

    Raises:
        DataError: the tar cannot be read.
    """
    lines = []
    for entries in _scanned(tar):
        fields = (f"{e.suffix} {e.offset} {e.size} {e.name}" for e in entries)
        lines.append(" ".join(fields))
    partial = index.with_name(f"{index.name}.{os.getpid()}")  # ranks may write at the same time
    partial.write_text("\n".join([f"{_VERSION} {len(lines)}", *lines]) + "\n", encoding="utf-8")
    partial.replace(index)


def read_index(tar: Path) -> list[list[Entry]]:
    """Samples of a tar, each with its files.

    Raises:
        DataError: neither the tar nor its index can be read.
    """
    index = tar.with_suffix(".idx")
    stale = not index.is_file() or index.stat().st_mtime < tar.stat().st_mtime
    if stale and os.access(tar.parent, os.W_OK):
        write_index(tar, index)
        stale = False
    return _scanned(tar) if stale else _parsed(index)


class TarImages(Dataset[Any]):
    """Images of tar shards, in the order of the shards' names and of the samples in them.

    Args:
        tars: the shards.
        labelled: read each sample's label, a whole number in its ``.cls`` file.

    Raises:
        DataError: a shard that cannot be read, or a sample without image or label.
    """

    def __init__(self, tars: Sequence[Path], labelled: bool) -> None:
        self.tars = [str(tar) for tar in sorted(tars)]
        shards, places, labels = [], [], []
        for shard, tar in enumerate(self.tars):
            for entries in read_index(Path(tar)):
                image = _member(entries, IMAGE_SUFFIXES, tar)
                shards.append(shard)
                places.append((image.offset, image.size))
                labels.append(_label(entries, tar) if labelled else 0)
        self._shards = np.array(shards, np.int32)
        self._places = np.array(places, np.int64).reshape(-1, 2)
        self.labels = np.array(labels, np.int64)
        self._files: dict[int, int] = {}

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
        try:
            with Image.open(io.BytesIO(self.encoded(index))) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{self.name(index)} cannot be read as an image ({error}): repair it or remove it"
            ) from error

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


def _scanned(tar: Path) -> list[list[Entry]]:
    samples: dict[str, list[Entry]] = {}
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                if member.isfile():
                    folder, _, file = member.name.rpartition("/")
                    stem, _, suffix = file.partition(".")
                    entry = Entry(suffix.lower(), member.offset_data, member.size, member.name)
                    samples.setdefault(f"{folder}/{stem}", []).append(entry)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{tar} cannot be read as a tar ({error}): make it again") from error
    return list(samples.values())


def _parsed(index: Path) -> list[list[Entry]]:
    version, *lines = index.read_text(encoding="utf-8").splitlines()
    width = 4 if version.startswith("v1.2") else 3  # older indexes leave the names out
    samples = []
    for line in lines:
        words = line.split(" ")
        fields = [words[first : first + width] for first in range(0, len(words), width)]
        samples.append([Entry(f[0].lower(), int(f[1]), int(f[2]), "".join(f[3:])) for f in fields])
    return samples


def _member(entries: Sequence[Entry], suffixes: Sequence[str], tar: str) -> Entry:
    for entry in entries:
        if entry.suffix.rpartition(".")[2] in suffixes:
            return entry
    names = ", ".join(entry.name or entry.suffix for entry in entries)
    raise DataError(
        f"{tar} has a sample ({names}) without .{suffixes[0]} file: add it or remove the sample"
    )


def _label(entries: Sequence[Entry], tar: str) -> int:
    entry = _member(entries, LABEL_SUFFIXES, tar)
    with Path(tar).open("rb") as file:
        file.seek(entry.offset)
        text = file.read(entry.size)
    try:
        return int(text)
    except ValueError:
        raise DataError(
            f"{tar} has the label {text!r} ({entry.name}), which is not a whole number: "
            "number the classes, or set data.no_labels=true"
        ) from None
