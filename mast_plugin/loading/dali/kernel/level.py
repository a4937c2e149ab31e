"""PIL's solarization and equalization, compiled: tables from level to level."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True, error_model="numpy")
def solarize(image: Array, threshold: float) -> None:
    """Inverts values from a threshold up, in place.

    Args:
        image: **(H, W, 3)** uint8.
        threshold: share of the value range; above 1 nothing is inverted.
    """
    level = np.rint(256 * threshold)
    flat = image.reshape(-1)
    for at in range(flat.size):
        flat[at] = flat[at] if flat[at] < level else 255 - flat[at]


@njit(cache=True, error_model="numpy")
def equalize(image: Array) -> None:
    """Flattens the histogram of every channel, in place.

    Args:
        image: **(H, W, 3)** uint8.
    """
    flat = image.reshape(-1, 3)
    for channel in range(3):
        counts = np.zeros(256, np.int64)
        for at in range(flat.shape[0]):
            counts[flat[at, channel]] += 1
        table = _flattening(counts)
        for at in range(flat.shape[0]):
            flat[at, channel] = table[flat[at, channel]]


@njit(cache=True, error_model="numpy")
def _flattening(counts: Array) -> Array:
    """As PIL does it: in whole steps, and not at all where a step would be less than one pixel."""
    table = np.arange(256).astype(np.uint8)
    last = np.nonzero(counts)[0][-1]
    step = (counts.sum() - counts[last]) // 255
    if step == 0:
        return table
    below = step // 2
    for level in range(256):
        table[level] = min(below // step, 255)
        below += counts[level]
    return table
