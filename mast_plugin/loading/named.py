"""Which images a configuration names: a dataset of torchvision's, a folder, a table, tar shards."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

from omegaconf import DictConfig
from torchvision import datasets

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.collection import class_names, images_of, printable
from mast_plugin.loading.dali import require_dali
from mast_plugin.loading.image import Reading
from mast_plugin.loading.image_table import ImageTable
from mast_plugin.loading.listed import FolderImages, ListedImages
from mast_plugin.loading.shard import TarImages
from mast_plugin.loading.walk import is_hidden
from mast_plugin.views.plan import IMAGENET_MEAN, IMAGENET_STD

Channels = tuple[float, float, float]

NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "imagenet100": 100}
FOLDERS = ("custom", "imagenet", "imagenet100")
DATASETS = (*NUM_CLASSES, "custom")
DATA_FORMATS = ("image_folder", "dali")
"""Who loads, whatever the files: both read image folders, CSV tables and tar shards.

``image_folder`` is solo-learn's name for loading through Pillow and torchvision; it is kept, as it
stands in recipes and checkpoints.
"""

_STATISTICS: dict[str, tuple[Channels, Channels]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.2470, 0.2430, 0.2610)),
}


def normalisation(dataset: str) -> dict[str, Channels]:
    """Return ``mean`` and ``std`` per channel of values in [0, 1], as solo-learn has them."""
    mean, std = _STATISTICS.get(dataset, (IMAGENET_MEAN, IMAGENET_STD))
    return {"mean": mean, "std": std}


def open_images(data: DictConfig, root: Path, *, train: bool, labelled: bool) -> Any:
    """Open the images of ``data.dataset``, which lie in ``root`` or are downloaded to it.

    Raises:
        DataError: they cannot be had.
    """
    dataset = data.dataset
    if dataset in FOLDERS:
        return _files(data, root, labelled)
    try:
        if dataset == "stl10":
            split = "train+unlabeled" if train else "test"
            return datasets.STL10(str(root), split=split, download=True)
        kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[dataset]
        return kind(str(root), train=train, download=True)
    except (URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"{dataset} is not in {root} and cannot be downloaded ({error}): "
            "put its files there, or use data.dataset=custom with an image folder"
        ) from error


def check_format(format_: str, dataset: str) -> None:
    """Refuse a ``data.format`` that is none, or that the dataset cannot be loaded by.

    Raises:
        ConfigurationError: naming what there is.
    """
    if format_ not in DATA_FORMATS:
        raise ConfigurationError(
            f"data.format is {format_!r}; it must be one of {', '.join(DATA_FORMATS)}"
        )
    if format_ == "dali":
        require_dali()
        if dataset not in FOLDERS:
            raise ConfigurationError(
                f"data.format=dali reads files and shards, but {dataset}'s images are in one "
                "array: choose data.format=image_folder"
            )


def _files(data: DictConfig, path: Path, labelled: bool) -> Any:
    """Open a table, tar shards (one, or a folder of them) or an image folder."""
    reading = Reading.of(data)
    if _is_file(path, ".csv"):
        return ImageTable(path, labelled, reading)
    if tars := [path] if _is_file(path, ".tar") else _shards(path):
        return TarImages(tars, labelled, reading)
    return FolderImages(path, labelled, reading)


def number_as_in_training(data: DictConfig, images: Any, root: Path) -> None:
    """Give validation images the labels that the classes of their names have in training.

    Shards have numbers and no names: these are compared with how many classes there are.

    Raises:
        DataError: a class is not in training.
    """
    source = Path(data.train_path)
    if _is_file(source, ".csv"):
        classes = list(ImageTable(source, labelled=True).classes)
    elif source.is_dir() and not _shards(source):
        classes = [printable(name) for name in class_names(source)]
    else:
        classes = [str(number) for number in range(data.num_classes or 0)]
    if isinstance(images, ListedImages) and classes:
        images.count_as(classes, root)
    elif classes and len(images.classes) > len(classes):
        raise DataError(
            f"{root} holds the label {len(images.classes) - 1}, but the training images have "
            f"{len(classes)} classes, counted from 0: remove its images, or add some to train on"
        )


def _is_file(path: Path, suffix: str) -> bool:
    return path.suffix.lower() == suffix and not path.is_dir()


def _shards(folder: Path) -> list[Path]:
    """The tar shards of a folder, which may hold no other images."""
    tars = [
        path
        for path in sorted(folder.glob("*.[tT][aA][rR]"))
        if path.is_file() and not is_hidden(path.name)
    ]
    if tars and (others := images_of(folder)):
        raise DataError(
            f"{folder} holds tar shards ({tars[0].name}) beside images ({others[0]}): move one of "
            "the two elsewhere"
        )
    return tars
