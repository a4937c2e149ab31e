"""Rank correlation with an interval."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]

RESAMPLES = 1000


class Correlation(NamedTuple):
    """Spearman's, with its 95 % bootstrap interval (percentiles, over images)."""

    value: float
    low: float
    high: float


def rank_correlation(
    x: Array, y: Array, *, resamples: int = RESAMPLES, seed: int = 0
) -> Correlation | None:
    """Spearman's correlation over all values, with an interval over resampled images.

    Args:
        x: (N, S), S values of each image, which are resampled together.
        y: (N, S).
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Returns:
        None where x or y is constant. Resamples in which one is are left out.
    """
    places = _places(x), _places(y)
    each = np.ones(len(x))
    value = _spearman(*places, each, x.shape[1])
    if value is None:
        return None
    rng = np.random.default_rng(seed)
    # How often each image was drawn, instead of the images: so values are sorted only once.
    drawn = (rng.multinomial(len(x), each / len(x)).astype(float) for _ in range(resamples))
    values = [_spearman(*places, counts, x.shape[1]) for counts in drawn]
    low, high = np.percentile([v for v in values if v is not None] or [value], [2.5, 97.5])
    return Correlation(value, float(low), float(high))


def _places(values: Array) -> Places:
    """Each value's place among the sorted distinct ones."""
    _, places = np.unique(values.ravel(), return_inverse=True)
    return places.astype(np.int64)


def _spearman(x: Places, y: Places, image_counts: Array, per_image: int) -> float | None:
    """Pearson's correlation of the mean ranks, every value counted as often as its image."""
    counts = np.repeat(image_counts, per_image)
    first, second = (_centred_ranks(places, counts) for places in (x, y))
    squares = float(counts @ first**2) * float(counts @ second**2)
    return float(counts @ (first * second)) / squares**0.5 if squares else None


def _centred_ranks(places: Places, counts: Array) -> Array:
    ties = np.bincount(places, weights=counts)
    ranks = np.cumsum(ties) - (ties - 1) / 2  # equal values share the mean of their ranks
    centred: Array = ranks[places] - (counts.sum() + 1) / 2
    return centred
