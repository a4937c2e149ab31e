"""Where a pipeline's encoded images come from.

DALI decodes what it and Pillow turn into the same pixels (:func:`is_plain`); anything else is
decoded by Pillow beside the pipeline, by the same rules as everywhere, and handed over as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn
from torch.utils.data import Dataset, Subset

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.dali.plain import as_pnm, is_plain
from mast_plugin.loading.image import AS_SHOWN, Reading, load_image
from mast_plugin.loading.shard import TarImages

Indexes = npt.NDArray[np.int64]
_UNKNOWN = -1


class Source(Protocol):
    """N encoded images with labels, counted from 0."""

    labels: Indexes
    """**(N,)**"""
    reading: Reading
    """How files become images."""

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """A random order **(N,)** of all indexes."""

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """What the pipeline is given for a batch; ``following`` are the indexes of the next one."""

    def read(self, fed: Any) -> Any:
        """The pipeline's operation from what was fed to encoded images."""

    def check(self, index: int) -> None:
        """Decode an image with PIL.

        Raises:
            DataError: it cannot be decoded.
        """

    def name(self, index: int) -> str:
        """Where an image is, for messages."""


class Files:
    """Images in files of their own, read by DALI's threads unless Pillow must decode them."""

    def __init__(self, samples: Sequence[tuple[str, int]], reading: Reading = AS_SHOWN) -> None:
        self.paths = np.array([path for path, _ in samples])
        self.labels = np.array([label for _, label in samples], np.int64)
        self.reading = reading
        self._plain = np.full(len(samples), _UNKNOWN, np.int8)

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """A uniformly random order."""
        return rng.permutation(len(self.labels))

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """The files' names, or, behind a zero, which no name has, decoded images."""
        unknown = [i for i in indexes if self._plain[i] == _UNKNOWN]
        others = indexes[self._plain[indexes] == 0]
        if unknown or len(others):
            with ThreadPoolExecutor() as pool:
                self._plain[unknown] = list(pool.map(self._look, unknown))
                others = indexes[self._plain[indexes] == 0]
                made = dict(zip(others.tolist(), pool.map(self._decoded, others), strict=True))
        else:
            made = {}
        return [made[i] if i in made else _bytes(os.fsencode(self.name(i))) for i in indexes]

    def read(self, fed: Any) -> Any:
        """Reads the named files."""
        if fed[0] == 0:  # noqa: SIM108 (DALI makes a branch of the statement)
            encoded = fed[1:]
        else:
            encoded = fn.io.file.read(fed)
        return encoded

    def check(self, index: int) -> None:
        """Decode an image with PIL."""
        load_image(self.name(index), self.reading)

    def name(self, index: int) -> str:
        """Its path."""
        return str(self.paths[index])

    def _look(self, index: int) -> bool:
        try:
            with open(self.name(index), "rb") as file:  # noqa: PTH123
                return is_plain(file)
        except OSError:
            return True  # DALI cannot read it either, and says so

    def _decoded(self, index: int) -> npt.NDArray[np.uint8]:
        return _bytes(b"\0" + as_pnm(load_image(self.name(index), self.reading)))


class Shards:
    """Images in tar shards; the system reads the next batch ahead."""

    def __init__(self, images: TarImages) -> None:
        self.images = images
        self.labels = images.labels
        self.reading = images.reading

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """A random order that reads a few shards at a time."""
        return self.images.shuffled(rng)

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """The images' bytes."""
        self.images.expect(following)
        return [_bytes(self._encoded(i)) for i in indexes]

    def read(self, fed: Any) -> Any:
        """Nothing is left to be read."""
        return fed

    def check(self, index: int) -> None:
        """Decode an image with PIL."""
        self.images.open(index)

    def name(self, index: int) -> str:
        """Shard and position."""
        return self.images.name(index)

    def _encoded(self, index: int) -> bytes:
        encoded = self.images.encoded(index)
        return encoded if is_plain(io.BytesIO(encoded)) else as_pnm(self.images.open(index))


class Share:
    """Some images of a source, counted anew."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.source = source
        self.indices = np.array(indices, np.int64)
        self.labels = source.labels[self.indices]
        self.reading = source.reading

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """The source's order, reduced to the share."""
        position = np.full(len(self.source.labels), -1)
        position[self.indices] = np.arange(len(self.indices))
        order = position[self.source.shuffled(rng)]
        return order[order >= 0]

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """What the source feeds."""
        return self.source.feed(self.indices[indexes], self.indices[following])

    def read(self, fed: Any) -> Any:
        """The source's operation."""
        return self.source.read(fed)

    def check(self, index: int) -> None:
        """Decode an image with PIL."""
        self.source.check(int(self.indices[index]))

    def name(self, index: int) -> str:
        """The source's name for it."""
        return self.source.name(int(self.indices[index]))


def source_of(images: Dataset[Any]) -> Source:
    """The source of a dataset's images.

    Raises:
        ConfigurationError: its images are neither files nor in shards.
    """
    if isinstance(images, Subset):
        return Share(source_of(images.dataset), images.indices)
    if isinstance(images, TarImages):
        return Shards(images)
    if hasattr(images, "samples"):
        return Files(images.samples, getattr(images, "reading", AS_SHOWN))
    raise ConfigurationError(
        f"data.format=dali reads files and shards, but {type(images).__name__}'s images are in one "
        "array: choose data.format=image_folder"
    )


def faulty(source: Source, indexes: Sequence[int]) -> list[str]:
    """What is wrong with those of the images that cannot be decoded."""
    sentences = []
    for index in indexes:
        try:
            source.check(int(index))
        except DataError as error:
            sentences.append(str(error))
    return sentences


def _bytes(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
