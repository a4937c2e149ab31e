"""Where a crop lies, and its resizing as PIL does it, compiled.

Plain loops that numba turns into vector instructions; they know nothing of DALI, whose own resizing
on the CPU is several times slower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from mast_plugin.views.drawing import CROP_ATTEMPTS

Array = npt.NDArray[Any]

BOX_NUMBERS = 5 + 2 * CROP_ATTEMPTS
"""What rules a box, float32: whether the image is cropped at all; where the box lies between top
and bottom, left and right, in [0, 1); the limits of its width / height, for the centred box that is
taken where none fits, as in torchvision; and the drawn boxes, heights and widths in units of the
square root of the image's area."""
_FRACTION_BITS = 22
_HALF = np.int32(1 << (_FRACTION_BITS - 1))


@njit(cache=True, error_model="numpy")
def place_box(box: Array, height: int, width: int, numbers: Array) -> None:
    """Finds the box that a view shows: the first drawn one that fits into its image.

    Args:
        box: **(4,)** or longer, where the result goes: top, left, bottom, right in whole pixels.
        height: of the image in pixels.
        width: likewise.
        numbers: **(BOX_NUMBERS,)**; without a crop it is the largest centred square.
    """
    tall = wide = min(height, width)
    down = right = -1.0
    if numbers[0] > 0:
        tall = min(height, max(1, int(width / numbers[3] + 0.5)))
        wide = min(width, max(1, int(height * numbers[4] + 0.5)))
        scale = np.sqrt(float(height * width))
        for attempt in range(5, numbers.size, 2):
            rows = int(numbers[attempt] * scale + 0.5)
            columns = int(numbers[attempt + 1] * scale + 0.5)
            if 1 <= rows <= height and 1 <= columns <= width:
                tall, wide = rows, columns
                down, right = float(numbers[1]), float(numbers[2])
                break
    top, left = (height - tall) // 2, (width - wide) // 2
    if down >= 0:
        top = min(int(down * (height - tall + 1)), height - tall)
        left = min(int(right * (width - wide + 1)), width - wide)
    box[0], box[1], box[2], box[3] = top, left, top + tall, left + wide


@njit(cache=True, error_model="numpy")
def resize_box(out: Array, image: Array, box: Array) -> None:
    """Brings a box of an image to a square, bicubic and smoothed where it shrinks, as PIL does.

    First along rows, then along columns, each rounded to 8 bits, with weights of 22 bits. The box
    is turned first, so that both passes run along contiguous memory.

    Args:
        out: **(S, S, 3)** uint8, where the result goes.
        image: **(H, W, 3)** uint8.
        box: see :func:`place_box`.
    """
    size = out.shape[0]
    top, left = int(box[0]), int(box[1])
    height, width = int(box[2]) - top, int(box[3]) - left
    columns = np.empty((3, width, height), np.uint8)
    for y in range(height):
        row = image[top + y, left : left + width]
        for x in range(width):
            for channel in range(3):
                columns[channel, x, y] = row[x, channel]
    rows = np.empty((height, 3 * size), np.uint8)
    total = np.empty(height, np.int32)
    first, weights = _taps(width, size)
    for x in range(size):
        for channel in range(3):
            _weigh(total, columns[channel], first[x], weights[x])
            for y in range(height):
                rows[y, 3 * x + channel] = _rounded(total[y])
    first, weights = _taps(height, size)
    total = np.empty(3 * size, np.int32)
    flat = out.reshape(size, 3 * size)
    for y in range(size):
        _weigh(total, rows, first[y], weights[y])
        for x in range(total.size):
            flat[y, x] = _rounded(total[x])


@njit(cache=True, error_model="numpy")
def _weigh(total: Array, lines: Array, first: Any, weights: Array) -> None:
    """The weighted sum of some lines; a weight of zero ends them."""
    total[:] = _HALF
    for tap in range(weights.size):
        weight = weights[tap]
        if weight != 0:
            line = lines[first + tap]
            for at in range(total.size):
                total[at] += weight * np.int32(line[at])


@njit(cache=True, error_model="numpy")
def _rounded(total: Any) -> Any:
    return np.uint8(min(max(total >> _FRACTION_BITS, 0), 255))


@njit(cache=True, error_model="numpy")
def _taps(length: int, size: int) -> tuple[Array, Array]:
    """The first pixel that each result is made of, and the weights from there on."""
    scale = length / size
    stretch = max(scale, 1.0)
    reach = 2 * stretch
    most = int(np.ceil(reach)) * 2 + 1
    first = np.empty(size, np.int32)
    weights = np.zeros((size, most), np.int32)
    exact = np.empty(most)
    for at in range(size):
        centre = (at + 0.5) * scale
        low, high = max(0, int(centre - reach + 0.5)), min(length, int(centre + reach + 0.5))
        for tap in range(high - low):
            exact[tap] = _cubic((low + tap - centre + 0.5) / stretch)
        whole = exact[: high - low].sum()
        for tap in range(high - low):
            weights[at, tap] = np.int32(np.rint(exact[tap] / whole * (1 << _FRACTION_BITS)))
        first[at] = low
    return first, weights


@njit(cache=True, error_model="numpy")
def _cubic(distance: float) -> float:
    """Keys' kernel with a = -1/2."""
    distance = abs(distance)
    if distance < 1:
        return (1.5 * distance - 2.5) * distance * distance + 1
    if distance < 2:
        return ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return 0.0
