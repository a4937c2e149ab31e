"""solo-learn's own linear evaluation, trained by its own engine on a frozen backbone."""

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.features.view import LabelledImages, ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.training import score_on_test, training_batches
from mast_plugin.host import load_host
from mast_plugin.host.checkpoint import streaming_io
from mast_plugin.host.quiet import quiet_host

PROTOCOL = "lightning-linear"
VERSION = 1
"""Raised whenever the same network, images and options would get other numbers."""
_HOST_TOP_K = 5


@dataclass(frozen=True, kw_only=True)
class LinearOptions:
    """How to train the classifier: SGD, momentum 0.9, the rate divided by ten twice.

    Source: solo-learn's scripts for linear evaluation divide at 60 % and 80 % of 100 epochs; the
    other defaults are this project's choice.

    Attributes:
        epochs: at least 1.
        batch_size: at least 1, at most all training images.
        lr: for batches of 256; multiplied by ``batch_size`` / 256.
        weight_decay: of the classifier.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    epochs: int = 100
    batch_size: int = 256
    lr: float = 0.3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1 or min(self.lr, self.weight_decay) < 0:
            raise ConfigurationError(
                f"epochs and batch_size must be at least 1 and rates not negative, got {self}"
            )


def lightning_linear_measurements(
    backbone: nn.Module,
    table: TaskTable,
    statistics: ViewStatistics,
    options: LinearOptions | None = None,
    *,
    unmirrored: Collection[str] = (),
    workers: int = 0,
    seed: int = 0,
    progress: bool = False,
) -> list[Measurement]:
    """Train solo-learn's linear classifier on every task, and score it on the test images.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features; left as it is.
        table: images and tasks.
        statistics: size and normalisation of the views: random crops, half of them mirrored, in
            training; centred in scoring.
        options: by default as :class:`LinearOptions` has them.
        unmirrored: tasks for which left and right matter: nothing is mirrored for them.
        workers: processes that read images; 0 reads them in this process.
        seed: of the classifier, the order and the crops; the global random state of the CPU is
            left alone.
        progress: show the engine's bar.

    Returns:
        Accuracies in percent with intervals over test images, of the protocol
        ``lightning-linear``; nothing is chosen.

    Raises:
        DataError: an image cannot be read, or the training diverges.
        HostError: solo-learn is not installed.
    """
    options = options or LinearOptions()
    rows: list[Measurement] = []
    for task in table.tasks:
        flip, (train, test) = task.name not in unmirrored, table.files(task)
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            view = statistics.training(flip=flip)
            images = LabelledImages(train, task.train, view, statistics.reading)
            loader = training_batches(images, options.batch_size, workers)
            network, device = _trained(backbone, loader, task, statistics, options, progress)
        rows += score_on_test(
            network,
            test,
            task,
            statistics,
            PROTOCOL,
            diverged=f"the linear classifier of {task.name} diverged: lower its lr",
            batch_size=options.batch_size,
            device=device,
            workers=workers,
            seed=seed,
        )
    return rows


class _Features(nn.Module):
    """A frozen copy of a backbone that says how wide it is, as the host asks."""

    def __init__(self, backbone: nn.Module, crop_size: int) -> None:
        super().__init__()
        self.network = deepcopy(backbone).cpu().eval()
        with torch.inference_mode():
            blank = torch.zeros(1, 3, crop_size, crop_size)
            self.num_features = self(blank).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images)
        return features.flatten(1)


def _trained(
    backbone: nn.Module,
    loader: DataLoader[Any],
    task: Task,
    statistics: ViewStatistics,
    options: LinearOptions,
    progress: bool,
) -> tuple[nn.Module, torch.device]:
    """Backbone and classifier, and the device that the engine chose."""
    host = load_host()
    model = host.linear_model(
        _Features(backbone, statistics.crop_size),
        # Both hosts report a top-5 accuracy; classes that never occur keep it from failing.
        num_classes=max(_HOST_TOP_K, len(task.classes)),
        max_epochs=options.epochs,
        batch_size=options.batch_size,
        lr=options.lr * options.batch_size / 256,
        weight_decay=options.weight_decay,
        lr_decay_epochs=[round(options.epochs * share) for share in (0.6, 0.8)],
    )
    trainer = host.engine.Trainer(
        **host.trainer_options({"accelerator": "auto", "devices": 1, "strategy": "auto"}),
        max_epochs=options.epochs,
        plugins=[streaming_io(host.engine)],  # on SLURM, the engine takes up what lies about
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
    )
    trainer.fit(model, loader)
    if trainer.interrupted:
        raise KeyboardInterrupt  # one of the engines keeps it to itself
    device = trainer.strategy.root_device
    return nn.Sequential(model.backbone, model.classifier), device


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the engine from announcing the hardware and from advising on a tiny run's loader."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with quiet_host(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning)\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
