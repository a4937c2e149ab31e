"""Images for pretraining: which dataset, checked before the first step, loaded with its views."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import datasets

from mast_plugin.dali import require_dali
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.image import check_images, is_image, load_image
from mast_plugin.plan import IMAGENET_MEAN, IMAGENET_STD
from mast_plugin.repetition import EpochSampler, LateLoader, RepeatableImages
from mast_plugin.shard import TarImages
from mast_plugin.table import ImageTable

Transform = Callable[[Image.Image], Any]
Channels = tuple[float, float, float]

_NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 1000, "imagenet100": 100}
_FOLDERS = ("custom", "imagenet", "imagenet100")
DATASETS = (*_NUM_CLASSES, "custom")
FORMATS = ("image_folder", "dali")

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
        self.samples = [(str(path), 0) for path in sorted(root.rglob("*")) if is_image(path)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return load_image(path), label


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
    images = _open(data.dataset, Path(data.train_path), train=True, labelled=not data.no_labels)
    if len(images) <= _CHECKED_BY_DEFAULT if data.check == "auto" else data.check:  # type: ignore[arg-type]
        _check(images)
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

    Each of ``num_processes`` loads its part; :mod:`mast_plugin.repetition` has the order.

    Raises:
        ConfigurationError: views or images that ``data.format`` cannot load.
        DataError: fewer images for each process than its batch takes.
    """
    _require_a_batch_each(cfg, images, num_processes)
    if cfg.data.format == "dali":
        from mast_plugin.dali.open import dali_loader

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
    images = _open(data.dataset, root, train=False, labelled=True)
    images.transform = transform
    return _loader(cfg, images, sampler=None, drop_last=False)


def _require_a_batch_each(cfg: DictConfig, images: Any, num_processes: int) -> None:
    """Refuse what would be an epoch without a step, as short batches are dropped."""
    share = len(images) // num_processes
    if share < cfg.optimizer.batch_size:
        each = f" for each of {num_processes} processes" if num_processes > 1 else ""
        raise DataError(
            f"{cfg.data.train_path} holds {share} images{each}, fewer than one batch: "
            f"lower optimizer.batch_size from {cfg.optimizer.batch_size}"
        )


def _open(dataset: str, root: Path, *, train: bool, labelled: bool) -> Any:
    if dataset in _FOLDERS:
        return _files(root, labelled)
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
    if format_ not in FORMATS:
        raise ConfigurationError(
            f"data.format is {format_!r}; it must be one of {', '.join(FORMATS)}"
        )
    if format_ == "dali":
        require_dali()
        if dataset not in _FOLDERS:
            raise ConfigurationError(
                f"data.format=dali reads files and shards, but {dataset}'s images are in one "
                "array: choose data.format=image_folder"
            )


def _check(images: Any) -> None:
    if isinstance(images, TarImages):
        check_images(range(len(images)), images.open)
    else:
        check_images([path for path, _ in getattr(images, "samples", [])])


def _files(path: Path, labelled: bool) -> Any:
    """Open a table, tar shards (one, or a folder of them) or an image folder."""
    if path.suffix == ".csv":
        return ImageTable(path, labelled)
    tars = [path] if path.suffix == ".tar" else sorted(path.glob("*.tar"))
    return TarImages(tars, labelled) if tars else _folder(path, labelled)


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
        if not any(is_image(path) for path in folder.rglob("*")):
            raise DataError(f"the class folder {folder} holds no images: fill it or remove it")
    return datasets.ImageFolder(str(root), loader=load_image)


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
