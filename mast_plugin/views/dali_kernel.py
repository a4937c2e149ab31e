"""Compiled functions for what DALI's own operations would need dozens of steps for.

On small images a pipeline's time goes into the number of its operations, not into pixels. Here each
of two long chains is one operation: where a crop lies, and all that changes the colours of single
pixels. The functions are plain loops that numba compiles; DALI calls them image by image from its
own threads. They run on the CPU; colours on a GPU are those of
:mod:`mast_plugin.views.dali_color`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from nvidia.dali import fn, types
from nvidia.dali.plugin.numba import NumbaFunction

from mast_plugin.views.dali_node import ACTIVE, Node

Array = npt.NDArray[Any]
SETTINGS = {
    "brightness": "brightness_factor",
    "contrast": "contrast_factor",
    "saturation": "saturation_factor",
    "hue": "hue_turns",
    "grayscale": ACTIVE,
    "sharpness": "sharpness_factor",
}
"""The types that :func:`recoloured` carries out, in its order, and what it is told of each."""
IDENTITY = (1.0, 1.0, 1.0, 0.0, 0.0, 1.0)
"""The settings of an image that is left as it is."""
_ONE, _HALF, _BLACK, _WHITE = np.float32(1), np.float32(0.5), np.float32(0), np.float32(255)


def recoloured(images: Node, settings: Node) -> Node:
    """Changes colours and sharpness as PIL does, but for hues, which are not rounded to 8 bits.

    Args:
        images: RGB, uint8, height x width x channels, on the CPU.
        settings: one float for each of ``SETTINGS``, per image.
    """
    return fn.reshape(_recolouring()(images, settings), layout="HWC")


def crop_box(extent: Node, active: Node, sides: Node, place: Node, ratio: Node) -> Node:
    """Finds the box that a view shows: the first drawn one that fits into its image.

    Args:
        extent: height and width **(2,)** of the image in pixels; floats, like the rest.
        active: **(1,)**, whether the image is cropped at all; else the largest centred square.
        sides: **(attempts, 2)**, drawn heights and widths in units of the square root of the area.
        place: **(2,)** in [0, 1), where the box lies between top and bottom, left and right.
        ratio: **(2,)**, the limits of width / height of the centred box that is taken where none
            fits, as in torchvision.

    Returns:
        **(4,)**: top, left, bottom, right in pixels, whole numbers.
    """
    return _boxing()(extent, active, sides, place, ratio)


@cache
def _recolouring() -> Any:
    """Compiled once for all pipelines of the process, as that takes seconds."""
    return NumbaFunction(
        run_fn=_colour_entry,
        setup_fn=_same_shape,
        in_types=[types.UINT8, types.FLOAT],
        ins_ndim=[3, 1],
        out_types=[types.UINT8],
        outs_ndim=[3],
    )


@cache
def _boxing() -> Any:
    return NumbaFunction(
        run_fn=_box_entry,
        setup_fn=_four_numbers,
        in_types=[types.FLOAT] * 5,
        ins_ndim=[1, 1, 2, 1, 1],
        out_types=[types.FLOAT],
        outs_ndim=[1],
    )


def _four_numbers(outs: Any, ins: Any) -> None:
    for sample in range(len(outs[0])):
        outs[0][sample][0] = 4


def _same_shape(outs: Any, ins: Any) -> None:
    for sample in range(len(outs[0])):
        for dimension in range(3):
            outs[0][sample][dimension] = ins[0][sample][dimension]


def _box_entry(
    box: Array, extent: Array, active: Array, sides: Array, place: Array, ratio: Array
) -> None:
    _place_box(box, extent, active, sides, place, ratio)


@njit(cache=True)
def _place_box(
    box: Array, extent: Array, active: Array, sides: Array, place: Array, ratio: Array
) -> None:
    height, width = extent[0], extent[1]
    tall = wide = min(height, width)
    spread, down, right = _BLACK, _BLACK, _BLACK
    if active[0] > 0:
        tall = min(height, max(_ONE, np.floor(width / ratio[0] + _HALF)))
        wide = min(width, max(_ONE, np.floor(height * ratio[1] + _HALF)))
        scale = np.sqrt(height * width)
        for attempt in range(sides.shape[0]):
            rows = np.floor(sides[attempt, 0] * scale + _HALF)
            columns = np.floor(sides[attempt, 1] * scale + _HALF)
            if 1 <= rows <= height and 1 <= columns <= width:
                tall, wide = rows, columns
                spread, down, right = _ONE, place[0], place[1]
                break
    room_down, room_right = height - tall, width - wide
    if spread > 0:
        box[0] = np.floor(down * (room_down + 1))
        box[1] = np.floor(right * (room_right + 1))
    else:
        box[0] = np.floor(room_down * _HALF)
        box[1] = np.floor(room_right * _HALF)
    box[2] = box[0] + tall
    box[3] = box[1] + wide


def _colour_entry(out: Array, image: Array, settings: Array) -> None:
    _recolour(out, image, settings)


@njit(cache=True)
def _recolour(out: Array, image: Array, settings: Array) -> None:
    """Row by row in planes of 16 bits, whose loops become vector instructions."""
    height, width, _ = image.shape
    planes = np.empty((4, width), np.int16)
    centre = _mean_grey(planes, image, settings) if settings[1] != 1 else 0
    for y in range(height):
        _brightened_row(planes, image[y], settings[0])
        if settings[1] != 1:
            planes[3] = centre
            _blend(planes, settings[1])
        if settings[2] != 1:
            _luminance(planes)
            _blend(planes, settings[2])
        if settings[3] != 0:
            _turn(planes[0], planes[1], planes[2], 6 * settings[3])
        if settings[4] > 0:
            _luminance(planes)
            _blend(planes, _BLACK)
        for x in range(width):
            for channel in range(3):
                out[y, x, channel] = planes[channel, x]
    if settings[5] != 1:
        _sharpen(out, settings[5])


@njit(cache=True)
def _brightened_row(planes: Array, row: Array, factor: Any) -> None:
    for x in range(row.shape[0]):
        for channel in range(3):
            planes[channel, x] = row[x, channel]
    if factor != 1:
        planes[3] = 0
        _blend(planes, factor)


@njit(cache=True)
def _mean_grey(planes: Array, image: Array, settings: Array) -> Any:
    total = 0
    for y in range(image.shape[0]):
        _brightened_row(planes, image[y], settings[0])
        _luminance(planes)
        total += planes[3].sum()
    return int(total / (image.shape[0] * image.shape[1]) + 0.5)


@njit(cache=True)
def _luminance(planes: Array) -> None:
    """PIL's, into the fourth plane."""
    red, green, blue, grey = planes[0], planes[1], planes[2], planes[3]
    for x in range(grey.size):
        weighted = np.int32(red[x]) * 19595 + np.int32(green[x]) * 38470 + np.int32(blue[x]) * 7471
        grey[x] = (weighted + 32768) >> 16


@njit(cache=True)
def _blend(planes: Array, factor: Any) -> None:
    """The colours at factor 1, the fourth plane at 0, linear before, between and beyond."""
    other = planes[3]
    for channel in range(3):
        plane = planes[channel]
        for x in range(other.size):
            value = np.float32(other[x]) + factor * np.float32(plane[x] - other[x])
            plane[x] = np.int16(min(max(value, _BLACK), _WHITE))


@njit(cache=True)
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


@njit(cache=True)
def _sharpen(image: Array, factor: Any) -> None:
    """Moves pixels away from PIL's smoothed image; those at the border stay, as in PIL."""
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
