"""What protocols that train on images have in common: the batches, and the scores at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from mast_plugin.errors import DataError
from mast_plugin.evaluation.features.extraction import extract_features, worker_context
from mast_plugin.evaluation.features.view import LabelledImages, ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.accuracy import accuracy


def training_batches(images: LabelledImages, batch_size: int, workers: int) -> DataLoader[Any]:
    """Shuffled batches; the last, short one of an epoch is dropped unless it is the only one."""
    return DataLoader(
        images,
        batch_size=min(batch_size, len(images)),
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context=worker_context(workers),
        persistent_workers=workers > 0,
    )


def score_on_test(
    network: nn.Module,
    files: Sequence[Path],
    task: Task,
    statistics: ViewStatistics,
    protocol: str,
    *,
    diverged: str,
    batch_size: int,
    device: torch.device | str,
    workers: int,
    seed: int,
) -> list[Measurement]:
    """Score a trained classifier on the test images of a task.

    Args:
        network: maps (N, 3, H, W) images to (N, C) scores, or more, of which the first C count.
        files: the test images.
        task: of C classes.
        statistics: size and normalisation of the views, which are centred.
        protocol: its name.
        diverged: the sentence for a training that diverged, with what to do about it.
        batch_size: images per forward pass.
        device: where to score.
        workers: processes that read images; 0 reads them in this process.
        seed: of the bootstrap.

    Raises:
        DataError: an image cannot be read, or the scores are not finite.
    """
    scores = extract_features(
        network,
        files,
        statistics.centred(),
        reading=statistics.reading,
        batch_size=batch_size,
        device=device,
        workers=workers,
    )[:, : len(task.classes)]
    if not torch.isfinite(scores).all():
        raise DataError(diverged)
    found = accuracy(scores, task.val, seed=seed)
    return found.measurements("backbone", protocol, task.name, {})
