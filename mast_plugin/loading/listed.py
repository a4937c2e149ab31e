"""Datasets of image files with labels: of a folder, and what every such list has in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from mast_plugin.errors import DataError
from mast_plugin.loading.collection import printable, read_collection
from mast_plugin.loading.contradiction import contradictions
from mast_plugin.loading.image import AS_SHOWN, Reading, check_images, load_image


class ListedImages(Dataset[Any]):
    """Items ``(RGB image, label)`` of files.

    Attributes:
        samples: path and label of each image.
        classes: names of the labels, in their order.
        reading: how files become images.
        notes: what a user should know of them before a training starts, in sentences.
    """

    def __init__(
        self, samples: list[tuple[str, int]], classes: Sequence[str], reading: Reading
    ) -> None:
        self.samples = samples
        self.classes = classes
        self.reading = reading
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return load_image(path, self.reading), label

    def count_as(self, classes: Sequence[str], source: Path) -> None:
        """Number the labels as the classes of other images, by their names.

        Args:
            classes: names of theirs, in their order.
            source: of these images, for messages.

        Raises:
            DataError: a class that is not among them.
        """
        numbers = {name: number for number, name in enumerate(classes)}
        named = [(path, self.classes[label]) for path, label in self.samples]
        if unknown := sorted({name for _, name in named} - numbers.keys()):
            raise DataError(
                f"{source} holds the class {unknown[0]!r}, of which there are no training images: "
                "remove it, or add some"
            )
        self.samples = [(path, numbers[name]) for path, name in named]
        self.classes = classes

    def check(self, step: int = 1) -> None:
        """Decode the images once, and note those that are there twice with different labels.

        Args:
            step: every how many-th image is looked at.

        Raises:
            DataError: naming those that cannot be decoded.
        """
        chosen = self.samples[::step]
        check_images([path for path, _ in chosen], lambda path: load_image(path, self.reading))
        if pairs := contradictions(chosen):
            more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
            self.notes.append(
                f"{pairs[0][0]} and {pairs[0][1]} are one image with two labels{more}"
            )


class FolderImages(ListedImages):
    """The images of a folder.

    Args:
        root: the folder.
        labelled: its folders are classes; otherwise every image gets label 0.
        reading: how files become images.

    Raises:
        DataError: as :func:`~mast_plugin.loading.collection.read_collection`.
    """

    def __init__(self, root: Path, labelled: bool, reading: Reading = AS_SHOWN) -> None:
        found = read_collection(root, labelled=labelled)
        super().__init__(found.samples, tuple(map(printable, found.classes)), reading)
        self.left_out = found.left_out
        self.notes.append(f"{root} holds {found.summary()}")
