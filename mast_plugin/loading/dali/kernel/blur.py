"""PIL's Gaussian blur, compiled.

PIL approximates a Gaussian by a box of fractional width, three times along rows and three times
along columns; here the three are one filter, in floats. Beyond the border its last pixel goes on.

Source: Gwosdek et al., Theoretical Foundations of Gaussian Convolution by Extended Box Filtering
(2011), section 2; three passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

_HALF = np.float32(0.5)


@njit(cache=True, error_model="numpy")
def blur(image: Array, sigma_px: float) -> None:
    """Blurs an image in place.

    Args:
        image: **(H, W, 3)** uint8.
        sigma_px: standard deviation of the Gaussian in pixels; zero changes nothing.
    """
    weights = filter_of(sigma_px)
    reach = weights.size // 2
    height, width, _ = image.shape
    padded = np.empty(3 * (width + 2 * reach), np.float32)
    total = np.empty(3 * width, np.float32)
    rows = np.empty((height, 3 * width), np.uint8)
    flat = image.reshape(height, 3 * width)
    for y in range(height):
        for x in range(width + 2 * reach):
            source = min(max(x - reach, 0), width - 1)
            for channel in range(3):
                padded[3 * x + channel] = flat[y, 3 * source + channel]
        total[:] = _HALF
        for tap in range(weights.size):
            _add(total, weights[tap], padded[3 * tap : 3 * tap + total.size])
        _store(rows[y], total)
    for y in range(height):
        total[:] = _HALF
        for tap in range(weights.size):
            _add(total, weights[tap], rows[min(max(y + tap - reach, 0), height - 1)])
        _store(flat[y], total)


@njit(cache=True, error_model="numpy")
def filter_of(sigma_px: float) -> Array:
    """The weights of one direction, float32, of odd length, with the sum 1."""
    variance = sigma_px * sigma_px
    whole = np.floor((np.sqrt(4 * variance + 1) - 1) / 2)
    edge = (2 * whole + 1) * (whole * (whole + 1) - variance)
    radius = whole + edge / (2 * variance - 6 * (whole + 1) * (whole + 1))
    reach = int(np.ceil(radius))
    box = np.empty(2 * reach + 1)
    for at in range(box.size):
        box[at] = min(max(radius + 1 - abs(at - reach), 0.0), 1.0) / (2 * radius + 1)
    return np.convolve(np.convolve(box, box), box).astype(np.float32)


@njit(cache=True, error_model="numpy")
def _add(total: Array, weight: Any, line: Array) -> None:
    for at in range(total.size):
        total[at] += weight * np.float32(line[at])


@njit(cache=True, error_model="numpy")
def _store(line: Array, total: Array) -> None:
    for at in range(total.size):
        line[at] = np.uint8(total[at])
