"""Images for pretraining: which dataset, checked before the first step, loaded with its views."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets

from mast_plugin.errors import ConfigurationError, DataError, on_one_line
from mast_plugin.loading.collection import class_names, images_of, is_hidden, listed, printable
from mast_plugin.loading.dali import require_dali
from mast_plugin.loading.image import Reading
from mast_plugin.loading.image_table import ImageTable
from mast_plugin.loading.listed import FolderImages, ListedImages
from mast_plugin.loading.repetition import EpochSampler, LateLoader, RepeatableImages
from mast_plugin.loading.shard import TarImages
from mast_plugin.running.command import is_first_process
from mast_plugin.views.plan import IMAGENET_MEAN, IMAGENET_STD

Transform = Callable[[Image.Image], Any]
Channels = tuple[float, float, float]

_NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "imagenet100": 100}
_FOLDERS = ("custom", "imagenet", "imagenet100")
DATASETS = (*_NUM_CLASSES, "custom")
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

_CHECKED_BY_DEFAULT = 20_000
"""Collections of up to this size are decoded once before a run; of larger ones ``_SAMPLED`` images,
evenly spread, so that a kind of file that cannot be read is met; all of them when asked to."""
_SAMPLED = 1_000


def normalisation(dataset: str) -> dict[str, Channels]:
    """Return ``mean`` and ``std`` per channel of values in [0, 1], as solo-learn has them."""
    mean, std = _STATISTICS.get(dataset, (IMAGENET_MEAN, IMAGENET_STD))
    return {"mean": mean, "std": std}


class IndexedImages(Dataset[Any]):
    """Items ``(index, views, label)`` of a torchvision dataset; ``index`` counts the images.

    Args:
        images: items ``(RGB image, label)``.
        transform: image to views.
        unlabelled: give every image label 0, so that the online classifier has nothing to learn.
    """

    def __init__(self, images: Dataset[Any], transform: Transform, unlabelled: bool) -> None:
        self.images = images
        self.transform = transform
        self.unlabelled = unlabelled

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[int, Any, int]:
        image, label = self.images[index]
        return index, self.transform(image), 0 if self.unlabelled else label


class Transformed(Dataset[Any]):
    """Items ``(view, label)`` of a dataset of items ``(RGB image, label)``."""

    def __init__(self, images: Dataset[Any], transform: Transform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.images[index]
        return self.transform(image), label


def training_images(cfg: DictConfig) -> Dataset[Any]:
    """Open the training images named by a resolved configuration, and check what is there.

    Raises:
        ConfigurationError: an unknown dataset or format.
        DataError: a missing folder, a class without images, an image that cannot be read, or
            fewer images than one batch takes.
    """
    data = cfg.data
    if data.dataset not in DATASETS:
        raise ConfigurationError(
            f"data.dataset is {data.dataset!r}; it must be one of {', '.join(DATASETS)}"
        )
    _check_format(data.format, data.dataset)
    images = _open(data, Path(data.train_path), train=True, labelled=not data.no_labels)
    _check(cfg, images, by_dali=data.format == "dali")
    images = _fraction(images, data.fraction, cfg.seed)
    _require_a_batch_each(cfg, images, num_processes=1)
    return images


def num_classes(cfg: DictConfig, images: Dataset[Any]) -> int:
    """Return the number of classes that the online classifier tells apart, at least 1.

    Args:
        cfg: resolved configuration.
        images: what :func:`training_images` opened for it.
    """
    known = _NUM_CLASSES.get(cfg.data.dataset)
    if known or cfg.data.no_labels:
        return known or 1
    whole: Any = images.dataset if isinstance(images, Subset) else images
    return max(1, len(whole.classes))


def training_loader(
    cfg: DictConfig, images: Dataset[Any], transform: Any, *, num_processes: int = 1, rank: int = 0
) -> Any:
    """Return the shuffled loader of ``[index, views, label]``; the last, short batch is dropped.

    Each of ``num_processes`` loads its part; :mod:`mast_plugin.loading.repetition` has the order.

    Raises:
        ConfigurationError: views or images that ``data.format`` cannot load.
        DataError: fewer images for each process than its batch takes.
    """
    _require_a_batch_each(cfg, images, num_processes)
    if cfg.data.format == "dali":
        from mast_plugin.loading.dali.configured import dali_loader

        return dali_loader(cfg, images, transform)
    dataset = IndexedImages(images, transform, unlabelled=bool(cfg.data.no_labels))
    sampler = EpochSampler(dataset, seed=cfg.seed, num_processes=num_processes, rank=rank)
    return _loader(cfg, RepeatableImages(dataset, cfg.seed), sampler=sampler, drop_last=True)


def validation_loader(cfg: DictConfig, transform: Transform) -> DataLoader[Any] | None:
    """Return the loader of ``[image, label]`` of the validation split, or ``None`` without one.

    Raises:
        DataError: as :func:`training_images`.
    """
    data = cfg.data
    if data.no_labels or (data.val_path is None and data.dataset in _FOLDERS):
        return None
    root = Path(data.val_path or data.train_path)
    images = _open(data, root, train=False, labelled=True)
    if data.dataset in _FOLDERS:
        _number_as_in_training(data, images, root)
    _check(cfg, images, by_dali=False)
    return _loader(cfg, Transformed(images, transform), sampler=None, drop_last=False)


def announce(images: Any) -> None:
    """Say on standard error, once for all processes, what was found and what was left out."""
    while isinstance(images, Subset | Transformed):
        images = images.dataset if isinstance(images, Subset) else images.images
    if is_first_process() and (notes := getattr(images, "notes", [])):
        print(on_one_line("; ".join(notes)), file=sys.stderr, flush=True)


def _require_a_batch_each(cfg: DictConfig, images: Any, num_processes: int) -> None:
    """Refuse what would be an epoch without a step, as short batches are dropped."""
    share = len(images) // num_processes
    if share < cfg.optimizer.batch_size:
        each = f" for each of {num_processes} processes" if num_processes > 1 else ""
        left_out = getattr(images, "left_out", None)
        beside = f" (left out: {listed(left_out)})" if left_out else ""
        of = "" if cfg.data.fraction == -1 else f"a share of {cfg.data.fraction} of "
        raise DataError(
            f"{of}{cfg.data.train_path} holds {share} images{each}{beside}, fewer than one batch: "
            f"lower optimizer.batch_size from {cfg.optimizer.batch_size}"
        )


def _open(data: DictConfig, root: Path, *, train: bool, labelled: bool) -> Any:
    dataset = data.dataset
    if dataset in _FOLDERS:
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


def _check_format(format_: str, dataset: str) -> None:
    if format_ not in DATA_FORMATS:
        raise ConfigurationError(
            f"data.format is {format_!r}; it must be one of {', '.join(DATA_FORMATS)}"
        )
    if format_ == "dali":
        require_dali()
        if dataset not in _FOLDERS:
            raise ConfigurationError(
                f"data.format=dali reads files and shards, but {dataset}'s images are in one "
                "array: choose data.format=image_folder"
            )


def _check(cfg: DictConfig, images: Any, *, by_dali: bool) -> None:
    """Decode images once, by the decoder that will be used."""
    if not hasattr(images, "check") or cfg.data.check is False:
        return
    some = cfg.data.check == "auto" and len(images) > _CHECKED_BY_DEFAULT
    step = len(images) // _SAMPLED if some else 1
    images.check(step)
    if by_dali:
        from mast_plugin.loading.dali.configured import check

        check(cfg, images, step)


def _files(data: DictConfig, path: Path, labelled: bool) -> Any:
    """Open a table, tar shards (one, or a folder of them) or an image folder."""
    reading = Reading.of(data)
    if _is_file(path, ".csv"):
        return ImageTable(path, labelled, reading)
    if tars := [path] if _is_file(path, ".tar") else _shards(path):
        return TarImages(tars, labelled, reading)
    return FolderImages(path, labelled, reading)


def _number_as_in_training(data: DictConfig, images: Any, root: Path) -> None:
    """Give validation images the labels that the classes of their names have in training.

    Shards have numbers and no names: these are compared with how many classes there are.
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


def _fraction(images: Dataset[Any], fraction: float, seed: int) -> Dataset[Any]:
    """Keep a random share of the images; everything where ``fraction`` is -1, as in solo-learn."""
    if fraction == -1:
        return images
    if not 0 < fraction < 1:
        raise ConfigurationError(
            f"data.fraction is {fraction!r}; it must be in (0, 1), or -1 for all"
        )
    import torch

    count = len(images)  # type: ignore[arg-type]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return Subset(images, sorted(order[: max(1, int(count * fraction))].tolist()))


def _loader(
    cfg: DictConfig, dataset: Dataset[Any], *, sampler: EpochSampler | None, drop_last: bool
) -> DataLoader[Any]:
    return LateLoader(
        dataset,
        batch_size=cfg.optimizer.batch_size,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=cfg.data.num_workers,
        persistent_workers=cfg.data.num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # or the workers' seeds would be drawn from the network's
    )
