"""Semi-supervised fine-tuning: backbone and classifier together, on a small share of the labels."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.features.view import LabelledImages, ViewStatistics
from mast_plugin.evaluation.labels.split import label_fraction
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.training import score_on_test, training_batches

VERSION = 1
"""Raised whenever the same network, images and options would get other numbers."""


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """How to fine-tune; SGD with momentum 0.9 and a cosine schedule by step.

    Source: VICReg (arXiv 2105.04906), semi-supervised on ImageNet: 20 epochs, no weight decay and
    the rates of :data:`PROTOCOLS`. Its rates were set for batches of 256 on a thousand classes;
    nothing is chosen on the images at hand.

    Attributes:
        share: of the training labels, in (0, 1]; every class gives at least one image.
        backbone_lr: for batches of 256; multiplied by ``batch_size`` / 256, also where there are
            fewer images than one batch takes.
        classifier_lr: of the new linear layer, likewise.
        epochs: at least 1.
        batch_size: at least 2; the last, short batch of an epoch is dropped unless it is the only
            one.
        weight_decay: of both.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    share: float
    backbone_lr: float
    classifier_lr: float
    epochs: int = 20
    batch_size: int = 256
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        checks = {
            "share must be in (0, 1]": 0 < self.share <= 1,
            "epochs must be at least 1": self.epochs >= 1,
            "batch_size must be at least 2": self.batch_size >= 2,
            "rates and weight decay must not be negative": min(
                self.backbone_lr, self.classifier_lr, self.weight_decay
            )
            >= 0,
        }
        for sentence, holds in checks.items():
            if not holds:
                raise ConfigurationError(f"fine-tuning's {sentence}, got {self}")


PROTOCOLS: Mapping[str, FinetuneOptions] = {
    "finetune-1%": FinetuneOptions(share=0.01, backbone_lr=0.03, classifier_lr=0.08),
    "finetune-10%": FinetuneOptions(share=0.1, backbone_lr=0.01, classifier_lr=0.1),
}
"""The two protocols of VICReg, by the name under which they are reported."""


def finetune_measurements(
    backbone: nn.Module,
    table: TaskTable,
    statistics: ViewStatistics,
    options: FinetuneOptions,
    *,
    unmirrored: Collection[str] = (),
    device: torch.device | str = "cpu",
    workers: int = 0,
    seed: int = 0,
) -> list[Measurement]:
    """Fine-tune a copy of a backbone on every task, and score it on the test images.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features; left as it is.
        table: images and tasks; the labelled share is drawn from the training images of each task.
        statistics: size and normalisation of the views: random crops, half of them mirrored, in
            training; centred in scoring.
        options: see :data:`PROTOCOLS`.
        unmirrored: tasks for which left and right matter: nothing is mirrored for them.
        device: where to train.
        workers: processes that read images; 0 reads them in this process.
        seed: of the labelled share, the classifier, the order and the crops; the global random
            state of the CPU is left alone.

    Returns:
        Accuracies in percent with intervals over test images, of the protocol
        ``finetune-<share>%``; nothing is chosen.

    Raises:
        DataError: an image cannot be read, or the training diverges.
    """
    name = f"finetune-{100 * options.share:g}%"
    rows: list[Measurement] = []
    for task in table.tasks:
        flip, (train, test) = task.name not in unmirrored, table.files(task)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _finetuned(
                backbone, train, task, statistics, options, flip, device, workers, seed
            )
        rows += score_on_test(
            network,
            test,
            task,
            statistics,
            name,
            diverged=f"fine-tuning on {task.name} diverged: lower backbone_lr and classifier_lr",
            batch_size=options.batch_size,
            device=device,
            workers=workers,
            seed=seed,
        )
    return rows


def _finetuned(
    backbone: nn.Module,
    files: Sequence[Path],
    task: Task,
    statistics: ViewStatistics,
    options: FinetuneOptions,
    flip: bool,
    device: torch.device | str,
    workers: int,
    seed: int,
) -> nn.Module:
    """A copy of the backbone with a classifier behind it, trained together."""
    chosen = label_fraction(task.train, options.share, seed)
    images = LabelledImages(
        [files[index] for index in chosen.tolist()],
        task.train[chosen],
        statistics.training(flip=flip),
        statistics.reading,
    )
    loader = training_batches(images, options.batch_size, workers)
    body = nn.Sequential(deepcopy(backbone), nn.Flatten()).to(device).requires_grad_(True)
    head = nn.Linear(_width(body, statistics.crop_size, device), len(task.classes)).to(device)
    network = nn.Sequential(body, head)
    scale = options.batch_size / 256
    optimizer = torch.optim.SGD(
        [
            {"params": body.parameters(), "lr": scale * options.backbone_lr},
            {"params": head.parameters(), "lr": scale * options.classifier_lr},
        ],
        momentum=0.9,
        weight_decay=options.weight_decay,
    )
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for _ in range(options.epochs):
        for batch, labels in loader:
            loss = F.cross_entropy(network(batch.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return network


def _width(body: nn.Module, crop_size: int, device: torch.device | str) -> int:
    """F, seen from one blank image."""
    with torch.inference_mode():
        features: Tensor = body.eval()(torch.zeros(1, 3, crop_size, crop_size, device=device))
    return features.shape[1]
