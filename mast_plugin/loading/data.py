"""Images for pretraining: which dataset, checked before the first step, loaded with its views."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset

from mast_plugin.errors import ConfigurationError, DataError, on_one_line
from mast_plugin.loading.collection import listed
from mast_plugin.loading.named import (
    DATASETS,
    FOLDERS,
    NUM_CLASSES,
    check_format,
    number_as_in_training,
    open_images,
)
from mast_plugin.loading.repetition import EpochSampler, LateLoader, RepeatableImages
from mast_plugin.running.command import is_first_process

Transform = Callable[[Image.Image], Any]

_CHECKED_BY_DEFAULT = 20_000
"""Collections of up to this size are decoded once before a run; of larger ones ``_SAMPLED`` images,
evenly spread, so that a kind of file that cannot be read is met; all of them when asked to."""
_SAMPLED = 1_000


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
    check_format(data.format, data.dataset)
    images = open_images(data, Path(data.train_path), train=True, labelled=not data.no_labels)
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
    known = NUM_CLASSES.get(cfg.data.dataset)
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
    if data.no_labels or (data.val_path is None and data.dataset in FOLDERS):
        return None
    root = Path(data.val_path or data.train_path)
    images = open_images(data, root, train=False, labelled=True)
    if data.dataset in FOLDERS:
        number_as_in_training(data, images, root)
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
