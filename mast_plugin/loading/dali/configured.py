"""From a configuration to its DALI loader."""

from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch.utils.data import Dataset

from mast_plugin.errors import ConfigurationError
from mast_plugin.loading.dali.decoding import undecodable
from mast_plugin.loading.dali.draw import Draws
from mast_plugin.loading.dali.loader import DALILoader
from mast_plugin.loading.dali.node import Device
from mast_plugin.loading.dali.source import source_of
from mast_plugin.loading.image import refuse_failures
from mast_plugin.views.torchvision import PlainViews, RoutedViews


def dali_loader(
    cfg: DictConfig, images: Dataset[Any], views: RoutedViews | PlainViews
) -> DALILoader:
    """The training loader of a resolved configuration.

    Args:
        cfg: its batch size, seed, ``data.num_workers`` (threads here) and ``dali.device``.
        images: what is loaded.
        views: which views; the same as of the torchvision path.

    Raises:
        ConfigurationError: an unknown device, one that is not there, or images or types that it
            cannot load.
    """
    return DALILoader(
        source_of(images),
        draws_of(views),
        batch_size=cfg.optimizer.batch_size,
        seed=cfg.seed,
        device=chosen_device(cfg.dali.device, cfg.accelerator),
        num_threads=cfg.data.num_workers,
    )


def check(cfg: DictConfig, images: Dataset[Any], step: int = 1) -> None:
    """Decode images with DALI once, as an epoch will.

    Args:
        cfg: resolved configuration.
        images: what will be loaded.
        step: every how many-th image is decoded.

    Raises:
        DataError: naming those that DALI cannot decode.
    """
    source = source_of(images)
    chosen = range(0, len(source.labels), step)
    device = chosen_device(cfg.dali.device, cfg.accelerator)
    threads = cfg.data.num_workers
    refuse_failures(undecodable(source, chosen, device=device, num_threads=threads))


def draws_of(views: RoutedViews | PlainViews) -> Draws:
    """What the numbers of those views are drawn from."""
    if isinstance(views, RoutedViews):
        return Draws(views.plan.views, views.policy)
    return Draws(tuple(spec.plan for spec in views.specs for _ in range(spec.num_crops)), None)


def chosen_device(device: str, accelerator: str) -> Device:
    """Where DALI works: where the option says, or beside the network.

    Raises:
        ConfigurationError: an unknown device, or one that is not there.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise ConfigurationError(f"dali.device is {device!r}; it must be one of auto, cpu, gpu")
    has_gpu = torch.cuda.is_available()
    if device == "gpu" and not has_gpu:
        raise ConfigurationError("dali.device=gpu finds no GPU: choose dali.device=auto or cpu")
    if device == "auto":
        device = "gpu" if has_gpu and accelerator != "cpu" else "cpu"
    return cast(Device, device)
