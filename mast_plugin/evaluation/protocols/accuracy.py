"""Accuracies of a classifier's scores, with bootstrap intervals over the test images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mast_plugin.errors import DataError
from mast_plugin.evaluation.measurement import Measurement

MEASURES = ("top1", "top5", "mean_per_class")
RESAMPLES = 1000
_ENDS = (2.5, 97.5)


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval.

    Attributes:
        value: measured on all test images.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """How often a classifier is right, in percent.

    Attributes:
        top1: share of images whose label has the highest score.
        top5: share of images whose label is among the five highest; ``None`` for 5 classes or
            fewer, where it would be 100.
        mean_per_class: top-1 of each class that occurs, averaged over the classes.
    """

    top1: Interval
    top5: Interval | None
    mean_per_class: Interval

    def measurements(
        self, space: str, protocol: str, subject: str, chosen: Mapping[str, float]
    ) -> list[Measurement]:
        """The same as rows."""
        named = {"top1": self.top1, "top5": self.top5, "mean_per_class": self.mean_per_class}
        return [
            Measurement(
                space, protocol, subject, metric, part.value, part.low, part.high, dict(chosen)
            )
            for metric, part in named.items()
            if part is not None
        ]


def accuracy(
    scores: Tensor, labels: Tensor, *, resamples: int = RESAMPLES, seed: int = 0
) -> Accuracy:
    """Measures a classifier, with percentile bootstrap intervals over the test images.

    All three accuracies depend only on how many images of each class have their label ranked
    first, second to fifth, or lower.  So a resample of the M images is drawn as one multinomial
    vector over these 3 C cells: exactly the bootstrap's distribution, in memory of size
    resamples x 3 C whatever M is.  The mean over classes leaves out those that a resample lacks.
    The intervals say nothing about the choice of training images or the network's seed, and are
    of width zero where every image is right.

    Args:
        scores: (M, C) scores, the higher the likelier; ties go to the lower class index.
        labels: (M,) labels in [0, C), int64.
        resamples: number of bootstrap resamples.
        seed: of the resamples.

    Returns:
        The accuracies, in percent.

    Raises:
        DataError: the scores are not one row per label, or a label has no score.
    """
    cells = _cells(scores, labels)
    generator = np.random.Generator(np.random.PCG64(seed))
    share = cells.ravel() / cells.sum()
    drawn = generator.multinomial(len(labels), share, size=resamples).reshape(-1, *cells.shape)
    values = rates(scores, labels)
    bounds = {name: np.percentile(sample, _ENDS).tolist() for name, sample in _rates(drawn).items()}
    intervals = {name: Interval(value, *bounds[name]) for name, value in values.items()}
    return Accuracy(intervals["top1"], intervals.get("top5"), intervals["mean_per_class"])


def rates(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """The same accuracies by name, without intervals; ``top5`` only above 5 classes.

    Args:
        scores: (M, C) scores, see :func:`accuracy`.
        labels: (M,) labels.

    Raises:
        DataError: see :func:`accuracy`.
    """
    return {name: float(value[0]) for name, value in _rates(_cells(scores, labels)[None]).items()}


def _cells(scores: Tensor, labels: Tensor) -> NDArray[np.int64]:
    """Numbers of images by class and rank of the label: first, second to fifth, lower; (C, 3)."""
    if scores.ndim != 2 or len(scores) != len(labels) or len(labels) == 0:
        raise DataError(
            f"Scores of the shape {tuple(scores.shape)} do not fit {len(labels)} labels: "
            "give a row of scores for every label."
        )
    if not torch.isfinite(scores).all():
        raise DataError(
            "The scores hold values that are not finite: "
            "evaluate a checkpoint whose training did not diverge."
        )
    classes = scores.shape[1]
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(f"A label lies outside of the {classes} classes that have scores.")
    own = scores.gather(1, labels[:, None])
    ahead = torch.arange(classes, device=labels.device) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & ahead)).sum(1)
    place = (rank > 0).long() + (rank >= 5).long()
    return torch.bincount(3 * labels + place, minlength=3 * classes).reshape(-1, 3).cpu().numpy()


def _rates(cells: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Accuracies in percent of (B, C, 3) counts, (B,) each."""
    per_class = cells.sum(2)
    total = per_class.sum(1)
    present = per_class > 0
    shares = cells[..., 0] / np.maximum(per_class, 1)
    found = {"top1": 100 * cells[..., 0].sum(1) / total}
    if cells.shape[1] > 5:
        found["top5"] = 100 * cells[..., :2].sum((1, 2)) / total
    found["mean_per_class"] = 100 * shares.sum(1) / present.sum(1)
    return found
