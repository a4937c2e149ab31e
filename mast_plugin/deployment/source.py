"""Images to be embedded, wherever they are: files, tables, shards, lists, datasets."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from omegaconf import OmegaConf
from PIL import Image

from mast_plugin.deployment.transform import as_rgb
from mast_plugin.errors import DataError, on_one_line, shown
from mast_plugin.files.document import first_line
from mast_plugin.loading.collection import TEST, TRAIN, printable
from mast_plugin.loading.image import IMAGE_FORMATS, Reading, is_image, load_image
from mast_plugin.loading.image_table import ImageTable, read_rows
from mast_plugin.loading.named import open_images
from mast_plugin.loading.shard import IMAGE_SUFFIXES, TarImages
from mast_plugin.loading.shard_index import read_index

Label: TypeAlias = int | str | None
_SPLITS = frozenset((*TRAIN, *TEST))
_IMAGE_KEYS, _LABEL_KEYS = ("image", "img", "jpg", "png"), ("label", "labels", "cls", "target")
_KINDS = "a folder, a .csv table, .tar shards, a list of images or paths, or a map-style dataset"


class Source(Protocol):
    """N images in a fixed order; it can be sent to loading processes."""

    @property
    def names(self) -> Sequence[str] | None:
        """Of the images; ``None`` where they have none."""
        ...

    def origin(self, index: int) -> str | None:
        """The file that an image is read from, or ``None``."""
        ...

    def __len__(self) -> int: ...

    def item(self, index: int) -> tuple[Image.Image, Label]:
        """An image as RGB, and its label where it has one.

        Raises:
            DataError: it cannot be read.
        """
        ...

    def label(self, index: int) -> Label:
        """The label of an image that cannot be read, where it is known without it."""
        ...


def source_of(images: Any, reading: Reading) -> Source:
    """Find out what somebody gave.

    Args:
        images: the path of a folder, an image, a ``.csv`` table with a column ``file``, or of tar
            shards; PIL images or paths; or a dataset with ``__len__`` and ``__getitem__`` whose
            items are PIL images, tuples that begin with one, or mappings with an ``image``.
        reading: how files become images.

    Raises:
        DataError: it is none of these, or there are no images.
    """
    if isinstance(images, str | os.PathLike):
        return _of_path(Path(images), reading)
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        raise DataError(f"{type(images).__name__} cannot be embedded: give {_KINDS}")
    if isinstance(images, Mapping):
        raise DataError(f"a mapping of {shown(list(images))} cannot be embedded: give one of them")
    if len(images) == 0:
        raise DataError("there are no images to embed: give at least one")
    if isinstance(images, list | tuple):
        return GivenImages(images, reading)
    return DatasetImages(images, reading)


class FileImages:
    """Images of files.

    Args:
        files: their paths.
        names: what they are called.
        labels: one each, or ``None``.
        reading: how files become images.
    """

    def __init__(
        self,
        files: Sequence[str],
        names: Sequence[str],
        labels: Sequence[Label] | None,
        reading: Reading,
    ) -> None:
        self._files, self.names, self._labels = files, names, labels
        self._reading = reading

    def __len__(self) -> int:
        return len(self._files)

    def origin(self, index: int) -> str:
        """Its file."""
        return self._files[index]

    def item(self, index: int) -> tuple[Image.Image, Label]:
        """Read a file."""
        return load_image(self._files[index], self._reading), self.label(index)

    def label(self, index: int) -> Label:
        """Of the list."""
        return None if self._labels is None else self._labels[index]


class ShardImages:
    """Images of tar shards, called ``<shard>/<member>``."""

    def __init__(self, images: TarImages, labelled: bool) -> None:
        self._images, self._labelled = images, labelled
        members = [(tar, name) for tar in images.tars for name in _members(tar)]
        self.names = [f"{Path(tar).name}/{name}" for tar, name in members]
        self._tars = [tar for tar, _ in members]

    def __len__(self) -> int:
        return len(self._images)

    def origin(self, index: int) -> str:
        """Its shard."""
        return self._tars[index]

    def item(self, index: int) -> tuple[Image.Image, Label]:
        """Read a member."""
        return self._images.open(index), self.label(index)

    def label(self, index: int) -> Label:
        """Of its ``.cls`` file."""
        return int(self._images.labels[index]) if self._labelled else None


class GivenImages:
    """A list of PIL images and paths; the latter are names."""

    def __init__(self, images: Sequence[Any], reading: Reading) -> None:
        for index, image in enumerate(images):
            if not isinstance(image, Image.Image | str | os.PathLike):
                kind = type(image).__name__
                raise DataError(f"item {index} is no image or path but {kind}: give PIL images")
        self._images, self._reading = images, reading
        paths = [self.origin(index) for index in range(len(images))]
        self.names = [printable(path or "") for path in paths] if any(paths) else None

    def __len__(self) -> int:
        return len(self._images)

    def origin(self, index: int) -> str | None:
        """Its path, if it was given by one."""
        image = self._images[index]
        return None if isinstance(image, Image.Image) else os.fspath(image)

    def item(self, index: int) -> tuple[Image.Image, Label]:
        """Read one, or take it as it is."""
        image = self._images[index]
        if isinstance(image, Image.Image):
            return as_rgb(image, self._reading, f"image {index}"), None
        return load_image(os.fspath(image), self._reading), None

    def label(self, index: int) -> Label:
        """There are none."""
        return None


class DatasetImages:
    """A map-style dataset of torch, torchvision or Hugging Face."""

    names: Sequence[str] | None = None

    def __init__(self, dataset: Any, reading: Reading) -> None:
        self._dataset, self._reading = dataset, reading

    def __len__(self) -> int:
        return len(self._dataset)

    def origin(self, index: int) -> None:
        """Only the dataset knows."""

    def item(self, index: int) -> tuple[Image.Image, Label]:
        """Ask the dataset."""
        try:
            item = self._dataset[index]
        except (OSError, ValueError, SyntaxError) as error:  # what decoders raise
            raise DataError(
                f"item {index} of the dataset cannot be read ({first_line(error)}): leave it out"
            ) from error
        image, label = _parts(item)
        if not isinstance(image, Image.Image):
            raise DataError(
                f"item {index} of the dataset has no PIL image but {type(image).__name__}: open "
                "the dataset without a transform that makes tensors"
            )
        return as_rgb(image, self._reading, f"image {index}"), label

    def label(self, index: int) -> Label:
        """It comes with the image alone."""
        return None


def _parts(item: Any) -> tuple[Any, Label]:
    """Image and label of a dataset's item."""
    label: Any
    if isinstance(item, Mapping):
        image = next((item[key] for key in _IMAGE_KEYS if key in item), None)
        label = next((item[key] for key in _LABEL_KEYS if key in item), None)
    elif isinstance(item, tuple | list):
        image, label = (*item, None, None)[:2]
    else:
        image, label = item, None
    if hasattr(label, "item") and getattr(label, "ndim", 0) == 0:
        label = label.item()
    return image, label if isinstance(label, int | str) else None


def _of_path(path: Path, reading: Reading) -> Source:
    if not path.exists():
        raise DataError(f"{path} is not there: give {_KINDS}")
    if path.is_file() and is_image(path.name):
        return FileImages([str(path)], [printable(path.name)], None, reading)
    if path.suffix.lower() == ".csv" and not path.is_dir():
        _, columns, _ = read_rows(path)
        table = ImageTable(path, "label" in columns, reading)
        labels = table_labels(table)
        files = [file for file, _ in table.samples]
        return FileImages(
            files, _below(files, path.parent), labels if "label" in columns else None, reading
        )
    if path.is_file() and path.suffix.lower() != ".tar":
        raise DataError(
            f"{path} is no image ({', '.join(IMAGE_FORMATS)}), .csv table or .tar shard: give "
            "one of them, or a folder"
        )
    found = _opened(path, reading)
    if isinstance(found, ShardImages):
        return found
    files = [file for file, _ in found.samples]
    names = _below(files, path)
    return FileImages(files, names, folder_labels(names), reading)


def table_labels(table: ImageTable) -> list[Label]:
    """Labels of a table's images, as they stand there: numbers, or names."""
    named = [table.classes[label] for _, label in table.samples]
    return [int(name) for name in named] if all(map(str.isdecimal, named)) else list(named)


def _opened(path: Path, reading: Reading) -> Any:
    """A folder, or shards, with their labels where they have some."""
    stated = {"exif_orientation": reading.upright, "bit_depth": reading.bit_depth}
    data = OmegaConf.create({"dataset": "custom", **stated})
    opened = partial(open_images, data, path, train=True)
    found = opened(labelled=False)
    if not isinstance(found, TarImages):
        return found
    try:
        return ShardImages(opened(labelled=True), labelled=True)
    except DataError:
        return ShardImages(found, labelled=False)


def _members(tar: str) -> list[str]:
    """Names of the images of a shard, in its order; of one without names, where they start."""
    images = (
        next(each for each in entries if each.suffix.rpartition(".")[2] in IMAGE_SUFFIXES)
        for entries in read_index(Path(tar))
    )
    return [on_one_line(image.name) or str(image.offset) for image in images]


def _below(files: Sequence[str], folder: Path) -> list[str]:
    """Names from a folder on, with slashes; in full where a file lies elsewhere."""
    start = f"{str(folder).rstrip(os.sep)}{os.sep}"
    return [printable(file.removeprefix(start)).replace(os.sep, "/") for file in files]


def folder_labels(names: Sequence[str]) -> list[Label] | None:
    """Labels of a folder's images: the first folder on their way, or the one below a split.

    Args:
        names: from the folder on, with slashes.

    Returns:
        One each, ``None`` for images that lie in no such folder; ``None`` where none does.
    """
    folders = [name.split("/")[:-1] for name in names]
    tops = {each[0].casefold() for each in folders if each}
    level = 1 if tops and tops <= _SPLITS else 0
    labels: list[Label] = [each[level] if len(each) > level else None for each in folders]
    return labels if any(label is not None for label in labels) else None
