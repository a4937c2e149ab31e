"""Images for pretraining: which dataset, checked before the first step, loaded with its views."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.plan import IMAGENET_MEAN, IMAGENET_STD

Transform = Callable[[Image.Image], Any]
Channels = tuple[float, float, float]

_NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "imagenet100": 100}
_FOLDERS = ("custom", "imagenet", "imagenet100")
DATASETS = (*_NUM_CLASSES, "custom")

_STATISTICS: dict[str, tuple[Channels, Channels]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.4914, 0.4823, 0.4466), (0.2470, 0.2430, 0.2610)),
}

_CHECKED_BY_DEFAULT = 20_000
"""Image folders of up to this size are decoded once before a run; larger ones when asked to."""


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


class FlatFolder(Dataset[Any]):
    """Unlabelled images, at any depth below a folder, in the order of their names."""

    def __init__(self, root: Path) -> None:
        self.samples = [(str(path), 0) for path in sorted(root.rglob("*")) if _is_image(path)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return load_image(path), label


def load_image(path: str) -> Image.Image:
    """Decode an image as RGB.

    Raises:
        DataError: it cannot be decoded; the message names the file.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({error}): repair it or remove it"
        ) from error


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
    if data.format != "image_folder":
        raise ConfigurationError(f"data.format is {data.format!r}; it must be image_folder")
    images = _open(data.dataset, Path(data.train_path), train=True, labelled=not data.no_labels)
    paths = [path for path, _ in getattr(images, "samples", [])]
    if len(paths) <= _CHECKED_BY_DEFAULT if data.check == "auto" else data.check:
        check_images(paths)
    images = _fraction(images, data.fraction, cfg.seed)
    if len(images) < cfg.optimizer.batch_size:  # type: ignore[arg-type]
        raise DataError(
            f"{data.train_path} holds {len(images)} images, fewer than one batch: "  # type: ignore[arg-type]
            f"lower optimizer.batch_size from {cfg.optimizer.batch_size}"
        )
    return images


def num_classes(cfg: DictConfig) -> int:
    """Return the number of classes that the online classifier tells apart, at least 1."""
    known = _NUM_CLASSES.get(cfg.data.dataset)
    if known or cfg.data.no_labels:
        return known or 1
    return max(1, sum(entry.is_dir() for entry in Path(cfg.data.train_path).iterdir()))


def training_loader(cfg: DictConfig, images: Dataset[Any], transform: Transform) -> DataLoader[Any]:
    """Return the shuffled loader of ``[index, views, label]``; the last, short batch is dropped."""
    dataset = IndexedImages(images, transform, unlabelled=bool(cfg.data.no_labels))
    return _loader(cfg, dataset, shuffle=True, drop_last=True)


def validation_loader(cfg: DictConfig, transform: Transform) -> DataLoader[Any] | None:
    """Return the loader of ``[image, label]`` of the validation split, or ``None`` without one.

    Raises:
        DataError: as :func:`training_images`.
    """
    data = cfg.data
    if data.no_labels or (data.val_path is None and data.dataset in _FOLDERS):
        return None
    root = Path(data.val_path or data.train_path)
    images = _open(data.dataset, root, train=False, labelled=True)
    images.transform = transform
    return _loader(cfg, images, shuffle=False, drop_last=False)


def check_images(paths: Iterable[str]) -> None:
    """Decode every image once, in threads.

    Raises:
        DataError: naming the first that cannot be decoded, and how many others there are.
    """
    with ThreadPoolExecutor() as pool:
        failures = [failure for failure in pool.map(_failure, paths) if failure]
    if failures:
        others = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise DataError(f"{failures[0]}{others}")


def _failure(path: str) -> str | None:
    try:
        load_image(path)
    except DataError as error:
        return str(error)
    return None


def _open(dataset: str, root: Path, *, train: bool, labelled: bool) -> Any:
    if dataset in _FOLDERS:
        return _folder(root, labelled)
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


def _folder(root: Path, labelled: bool) -> Any:
    if not root.is_dir():
        raise DataError(
            f"the image folder {root} does not exist: set data.train_path (or val_path)"
        )
    if not labelled:
        flat = FlatFolder(root)
        if not len(flat):
            raise DataError(f"{root} holds no images ({', '.join(datasets.folder.IMG_EXTENSIONS)})")
        return flat
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir())
    if not classes:
        raise DataError(
            f"{root} holds no class folders: move its images into one folder per class, "
            "or set data.no_labels=true"
        )
    for folder in classes:
        if not any(_is_image(path) for path in folder.rglob("*")):
            raise DataError(f"the class folder {folder} holds no images: fill it or remove it")
    return datasets.ImageFolder(str(root), loader=load_image)


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(datasets.folder.IMG_EXTENSIONS)


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
    cfg: DictConfig, dataset: Dataset[Any], *, shuffle: bool, drop_last: bool
) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=cfg.optimizer.batch_size,
        shuffle=shuffle,
        drop_last=drop_last,
        num_workers=cfg.data.num_workers,
        persistent_workers=cfg.data.num_workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
