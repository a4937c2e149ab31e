"""Where a pipeline's encoded images come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from nvidia.dali import fn
from torch.utils.data import Dataset, Subset

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.image import load_image
from mast_plugin.shard import TarImages

Indexes = npt.NDArray[np.int64]


class Source(Protocol):
    """N encoded images with labels, counted from 0."""

    labels: Indexes
    """**(N,)**"""

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


class Files:
    """Images in files of their own, read by DALI's threads."""

    def __init__(self, samples: Sequence[tuple[str, int]]) -> None:
        self.paths = np.array([path for path, _ in samples])
        self.labels = np.array([label for _, label in samples], np.int64)

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """A uniformly random order."""
        return rng.permutation(len(self.labels))

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """The files' names."""
        return [np.frombuffer(str(self.paths[i]).encode(), np.uint8) for i in indexes]

    def read(self, fed: Any) -> Any:
        """Reads the named files."""
        return fn.io.file.read(fed)

    def check(self, index: int) -> None:
        """Decode an image with PIL."""
        load_image(str(self.paths[index]))


class Shards:
    """Images in tar shards; the system reads the next batch ahead."""

    def __init__(self, images: TarImages) -> None:
        self.images = images
        self.labels = images.labels

    def shuffled(self, rng: np.random.Generator) -> Indexes:
        """A random order that reads a few shards at a time."""
        return self.images.shuffled(rng)

    def feed(self, indexes: Indexes, following: Indexes) -> list[npt.NDArray[np.uint8]]:
        """The images' bytes."""
        self.images.expect(following)
        return [np.frombuffer(self.images.encoded(i), np.uint8) for i in indexes]

    def read(self, fed: Any) -> Any:
        """Nothing is left to be read."""
        return fed

    def check(self, index: int) -> None:
        """Decode an image with PIL."""
        self.images.open(index)


class Share:
    """Some images of a source, counted anew."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self.source = source
        self.indices = np.array(indices, np.int64)
        self.labels = source.labels[self.indices]

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
        return Files(images.samples)
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
