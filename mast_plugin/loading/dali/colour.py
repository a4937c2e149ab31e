"""The types that change colours or sharpness in place, as operations of a DALI pipeline.

Where DALI's own operation computes something else than PIL, or is slow, the type is written in
arithmetic: DALI rotates a linear colour space where torchvision moves HSV's hue (:func:`_hue`). On
the CPU, what :mod:`mast_plugin.loading.dali.kernel.operator` does in one pass is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nvidia.dali import fn, math, types

from mast_plugin.loading.dali.node import Drawn, Node, as_float, constant
from mast_plugin.views.augmentation import JITTER_PARTS
from mast_plugin.views.plan import Plan


def _blend(other: Node, images: Node, factor: Node) -> Node:
    """``other`` at factor 0, ``images`` at factor 1, linear before, between and beyond."""
    factor = as_float(factor)
    return _uint8(_scaled(images, factor) + _scaled(other, 1 - factor))


def _scaled(images: Node, factor: Node) -> Node:
    """Rounded to 16 bits; arithmetic with floats would take three times as long."""
    return fn.brightness(images, brightness=factor, dtype=types.INT16)


def _grey(images: Node) -> Node:
    """Luminance, one channel."""
    return fn.color_space_conversion(images, image_type=types.RGB, output_type=types.GRAY)


def _grayscale(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.color_space_conversion(_grey(images), image_type=types.GRAY, output_type=types.RGB)


def _brightness(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.brightness(images, brightness=drawn["brightness_factor"])


def _contrast(images: Node, drawn: Drawn, plan: Plan) -> Node:
    mean = math.floor(fn.reductions.mean(_grey(images)) + 0.5)
    factor = drawn["contrast_factor"]
    return fn.contrast(images, contrast=factor, contrast_center=mean.cpu())


def _saturation(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return _blend(_grayscale(images, {}, plan), images, drawn["saturation_factor"])


def _hue(images: Node, drawn: Drawn, plan: Plan) -> Node:
    """Moves every pixel round HSV's hexagon of hues, keeping its largest and smallest value.

    A hue is counted in sixths of a turn times the pixel's chroma (the largest minus the smallest
    value), so that whole numbers and no division suffice: red lies at 0, green at 2 chroma, blue at
    4 chroma, and once round is 6 chroma. A channel's value falls from its own hue's neighbours to
    either side within one chroma.
    """
    planes = fn.cast(fn.transpose(images, perm=[2, 0, 1]), dtype=types.INT16)
    red, green, blue = (planes[channel] for channel in range(3))
    largest = math.max(red, math.max(green, blue))
    smallest = math.min(red, math.min(green, blue))
    chroma = largest - smallest
    double, triple, fourfold = (chroma * _int16(times) for times in (2, 3, 4))
    distance = largest + green + blue - red - smallest - smallest  # from red, either way
    turns = fn.cast(chroma * (as_float(drawn["hue_turns"]) * 6.0), dtype=types.INT16)
    hue = distance * (_int16(1) - _int16(2) * (blue > green)) + turns
    hue = hue + (triple + triple) * (hue < _int16(0))
    levels = (
        math.abs(hue - triple) - chroma,
        double - math.abs(hue - double),
        double - math.abs(hue - fourfold),
    )
    moved = [smallest + math.min(math.max(level, _int16(0)), chroma) for level in levels]
    return fn.transpose(
        fn.cast(fn.stack(*moved, axis=0), dtype=types.UINT8), perm=[1, 2, 0], output_layout="HWC"
    )


def _color_jitter(images: Node, drawn: Drawn, plan: Plan) -> Node:
    for part in JITTER_PARTS:
        images = APPLY[part](images, drawn, plan)
    return images


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
"""PIL's smoothing filter, from which sharpness moves away."""


def _sharpness(images: Node, drawn: Drawn, plan: Plan) -> Node:
    """PIL leaves the outermost pixels as they are; here they are sharpened like the others."""
    return _blend(_filtered(images, constant(_SMOOTH)), images, drawn["sharpness_factor"])


def _gaussian_blur(images: Node, drawn: Drawn, plan: Plan) -> Node:
    """A Gaussian, where PIL has three box filters: on fine noise the two differ."""
    sigma = math.max(as_float(drawn["sigma_px"]), _NO_BLUR_PX)
    return fn.gaussian_blur(images, sigma=sigma)


_NO_BLUR_PX = 0.05
"""A sigma that changes no pixel; zero would let DALI choose one."""


def _filtered(images: Node, kernel: Node) -> Node:
    on_gpu = getattr(images, "device", "cpu") == "gpu"
    return fn.filter(images, kernel.gpu() if on_gpu else kernel, border="clamp")


def _solarization(images: Node, drawn: Drawn, plan: Plan) -> Node:
    level = fn.cast(math.floor(as_float(drawn["threshold"]) * 256.0 + 0.5), dtype=types.INT16)
    return images ^ (_uint8_constant(255) * (images >= level))


def _uint8_constant(value: int) -> Any:
    return types.Constant(value, dtype=types.UINT8)


def _int16(value: int) -> Any:
    return types.Constant(value, dtype=types.INT16)


def _uint8(images: Node) -> Node:
    return fn.cast(images, dtype=types.UINT8)


APPLY: Mapping[str, Callable[[Node, Drawn, Plan], Node]] = {
    "color_jitter": _color_jitter,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "grayscale": _grayscale,
    "sharpness": _sharpness,
    "gaussian_blur": _gaussian_blur,
    "solarization": _solarization,
    "equalization": lambda images, drawn, plan: fn.equalize(images),
}
