"""Colours and sharpness as PIL changes them, compiled: all of it in one pass over an image.

Plain loops that numba turns into vector instructions; they know nothing of DALI.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

_ONE, _HALF, _BLACK, _WHITE = np.float32(1), np.float32(0.5), np.float32(0), np.float32(255)

BRIGHTNESS, CONTRAST, SATURATION, HUE, GRAY, NUM_COLOURS = range(6)
"""The steps of :func:`recolour`, and how many there are; numbers of no order."""


@njit(cache=True, error_model="numpy")
def recolour(image: Array, steps: Array, values: Array) -> None:
    """Changes colours as PIL does, but for hues, which are not rounded to 8 bits; in place.

    Args:
        image: **(H, W, 3)** uint8.
        steps: **(M,)** int32: what is done, in this order, by the names above.
        values: **(M,)** float32: what each step is given: a factor of brightness, contrast or
            saturation (1 changes nothing), a hue in turns; nothing of grey.
    """
    planes = np.empty((4, image.shape[1]), np.int16)
    centres = np.zeros(steps.size, np.int16)
    for at in range(steps.size):
        if steps[at] == CONTRAST:
            centres[at] = _mean_grey(planes, image, steps[:at], values, centres)
    for y in range(image.shape[0]):
        _change_row(planes, image[y], steps, values, centres)
        for x in range(image.shape[1]):
            for channel in range(3):
                image[y, x, channel] = planes[channel, x]


@njit(cache=True, error_model="numpy")
def _change_row(planes: Array, row: Array, steps: Array, values: Array, centres: Array) -> None:
    """Takes a row apart into three planes, and changes their colours."""
    for x in range(row.shape[0]):
        for channel in range(3):
            planes[channel, x] = row[x, channel]
    for at in range(steps.size):
        step, value = steps[at], values[at]
        if step == BRIGHTNESS:
            planes[3] = 0
            _blend(planes, value)
        elif step == CONTRAST:
            planes[3] = centres[at]
            _blend(planes, value)
        elif step == SATURATION:
            _luminance(planes)
            _blend(planes, value)
        elif step == HUE:
            _turn(planes[0], planes[1], planes[2], 6 * value)
        elif step == GRAY:
            _luminance(planes)
            _blend(planes, _BLACK)


@njit(cache=True, error_model="numpy")
def _mean_grey(planes: Array, image: Array, steps: Array, values: Array, centres: Array) -> Any:
    """Of the image that the steps make of the given one."""
    total = 0
    for y in range(image.shape[0]):
        _change_row(planes, image[y], steps, values, centres)
        _luminance(planes)
        total += planes[3].sum()
    return int(total / (image.shape[0] * image.shape[1]) + 0.5)


@njit(cache=True, error_model="numpy")
def _luminance(planes: Array) -> None:
    """PIL's, into the fourth plane."""
    red, green, blue, grey = planes[0], planes[1], planes[2], planes[3]
    for x in range(grey.size):
        weighted = np.int32(red[x]) * 19595 + np.int32(green[x]) * 38470 + np.int32(blue[x]) * 7471
        grey[x] = (weighted + 32768) >> 16


@njit(cache=True, error_model="numpy")
def _blend(planes: Array, factor: Any) -> None:
    """The colours at factor 1, the fourth plane at 0, linear before, between and beyond."""
    other = planes[3]
    for channel in range(3):
        plane = planes[channel]
        for x in range(other.size):
            value = np.float32(other[x]) + factor * np.float32(plane[x] - other[x])
            plane[x] = np.int16(min(max(value, _BLACK), _WHITE))


@njit(cache=True, error_model="numpy")
def _turn(red: Array, green: Array, blue: Array, sixths: Any) -> None:
    """Moves every pixel round HSV's hexagon of hues, keeping its largest and smallest value.

    A hue is counted in sixths of a turn times the pixel's chroma (the largest minus the smallest
    value), so that whole numbers and no division suffice: red lies at 0, green at 2 chroma, blue at
    4 chroma, and once round is 6 chroma. A channel's value falls from its own hue's neighbours to
    either side within one chroma.
    """
    zero = np.int16(0)
    for x in range(red.size):
        r, g, b = red[x], green[x], blue[x]
        largest, smallest = max(r, max(g, b)), min(r, min(g, b))
        chroma = np.int16(largest - smallest)
        hue = np.int16(largest + g + b - r - smallest - smallest)  # from red, either way
        hue = np.int16(-hue) if b > g else hue
        hue = np.int16(hue + np.int16(np.floor(np.float32(chroma) * sixths + _HALF)))
        hue = np.int16(hue + 6 * chroma) if hue < 0 else hue
        for_red = np.int16(abs(np.int16(hue - 3 * chroma)) - chroma)
        for_green = np.int16(2 * chroma - abs(np.int16(hue - 2 * chroma)))
        for_blue = np.int16(2 * chroma - abs(np.int16(hue - 4 * chroma)))
        red[x] = smallest + min(max(for_red, zero), chroma)
        green[x] = smallest + min(max(for_green, zero), chroma)
        blue[x] = smallest + min(max(for_blue, zero), chroma)


@njit(cache=True, error_model="numpy")
def sharpen(image: Array, factor: Any) -> None:
    """Moves pixels away from PIL's smoothed image; those at the border stay, as in PIL.

    Args:
        image: **(H, W, 3)** uint8, changed in place.
        factor: float32: 0 is the smoothed image, 1 changes nothing.
    """
    height, width, _ = image.shape
    rows = image.reshape(height, 3 * width)
    above, here = rows[0].astype(np.int16), rows[1 % height].astype(np.int16)
    sums = np.empty(3 * width, np.int16)
    share = _ONE / np.float32(13)
    for y in range(1, height - 1):
        below = rows[y + 1].astype(np.int16)
        left, middle, right = sums[:-6], sums[3:-3], sums[6:]
        row, centre = rows[y, 3:-3], here[3:-3]
        for x in range(3 * width):
            sums[x] = np.int16(above[x] + np.int16(here[x] + below[x]))
        for x in range(row.size):
            cross = np.int16(np.int16(left[x] + middle[x]) + right[x])
            total = np.int16(cross + np.int16(4) * centre[x])
            smooth = np.int16(np.float32(total) * share + _HALF)
            value = np.float32(smooth) + factor * np.float32(np.int16(centre[x] - smooth))
            row[x] = np.uint8(np.int16(min(max(value, _BLACK), _WHITE)))
        above, here = here, below
