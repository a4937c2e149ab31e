"""One augmentation with given parameters, as operations of an NVIDIA DALI pipeline.

The counterpart of :mod:`mast_plugin.views.pil`, whose images it reproduces within a few levels of 8
bits (``tests/test_views_dali.py`` states how many for each type). DALI has ready-made operations
for most types; where they compute something else than PIL, or compute it slowly, the types are
written here in DALI's arithmetic, which runs on the CPU and on a GPU alike:

- hue: DALI rotates a linear colour space, torchvision moves HSV's hue (:func:`_hue`);
- Gaussian blur: PIL approximates it by three box filters (:func:`_blur_kernel`);
- uncovered pixels: DALI fills all channels with one number, the dataset's mean has three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from nvidia.dali import fn, math, ops, types

from mast_plugin.augmentation import JITTER_PARTS
from mast_plugin.errors import ConfigurationError
from mast_plugin.plan import Plan

Node = Any
"""A batch inside a pipeline: what DALI calls a DataNode."""
Drawn = Mapping[str, Node]
Device = Literal["cpu", "gpu"]


def apply(images: Node, name: str, drawn: Drawn, plan: Plan) -> Node:
    """Applies one augmentation to a batch.

    Args:
        images: RGB, uint8, height x width x channels, on either device; any sizes for a crop,
            ``plan.crop_size`` square for the rest.
        name: the augmentation type.
        drawn: one number per image for each name that :func:`mast_plugin.drawing.draw` gives, in
            its units, on the CPU; plain numbers serve as well.
        plan: gives the size that a crop is brought to and the colour of uncovered pixels.

    Returns:
        Images like the given ones, ``plan.crop_size`` square.
    """
    return _APPLY[name](images, drawn, plan)


def refuse_unsupported(plan: Plan, device: Device) -> None:
    """Refuses a plan that the installed DALI cannot carry out on a device.

    Raises:
        ConfigurationError: naming the type, what is missing and the alternatives.
    """
    available = ops.gpu_ops() if device == "gpu" else ops.cpu_ops()
    for name in plan.types:
        missing = [each for each in _OPERATORS.get(name, ()) if each not in available]
        if missing:
            raise ConfigurationError(
                f"the installed DALI has no {missing[0]} on the {device}, which {name} needs: "
                f"leave {name} out, or choose dali.device={'cpu' if device == 'gpu' else 'gpu'} "
                "or data.format=image_folder"
            )


def resized_box(images: Node, start: Node, end: Node, size_px: int) -> Node:
    """Brings the box from ``start`` to ``end``, both (row, column) in pixels, to a square."""
    return fn.resize(
        images,
        roi_start=start,
        roi_end=end,
        size=(size_px, size_px),
        interp_type=types.INTERP_CUBIC,
    )


def normalised(images: Node, plan: Plan) -> Node:
    """Floats of mean 0, channels first, as the network takes them."""
    return fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[255 * value for value in plan.mean],
        std=[255 * value for value in plan.std],
    )


def _crop(images: Node, drawn: Drawn, plan: Plan) -> Node:
    start = fn.stack(_float(drawn["top_px"]), _float(drawn["left_px"]))
    sides = fn.stack(_float(drawn["height_px"]), _float(drawn["width_px"]))
    return resized_box(images, start, start + sides, plan.crop_size)


def _blend(other: Node, images: Node, factor: Node) -> Node:
    """``other`` at factor 0, ``images`` at factor 1, linear before, between and beyond."""
    factor = _float(factor)
    return _uint8(images * factor + other * (1 - factor))


def _grey(images: Node) -> Node:
    """Luminance, one channel."""
    return fn.color_space_conversion(images, image_type=types.RGB, output_type=types.GRAY)


def _grayscale(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.color_space_conversion(
        _grey(images), image_type=types.GRAY, output_type=types.RGB
    )


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

    Hues are counted in units of a sixth of a turn times the pixel's chroma (the largest minus the
    smallest value), so that whole numbers and no division suffice: red lies at 0, green at 2
    chroma, blue at -2 chroma.
    """
    planes = fn.cast(fn.transpose(images, perm=[2, 0, 1]), dtype=types.INT16)
    red, green, blue = (planes[channel] for channel in range(3))
    largest = math.max(red, math.max(green, blue))
    smallest = math.min(red, math.min(green, blue))
    chroma = largest - smallest
    double, triple = chroma + chroma, chroma * _int16(3)
    distance = largest + green + blue - red - smallest - smallest  # from red, either way
    side = _int16(1) - _int16(2) * (blue > green)
    turns = fn.cast(chroma * (_float(drawn["hue_turns"]) * 6.0), dtype=types.INT16)
    hue = distance * side + turns
    moved = []
    for centre in (None, double, -double):
        offset = hue if centre is None else hue - centre
        away = math.abs(triple - math.abs(math.abs(offset) - triple))  # round the hexagon
        level = math.max(double - away, _int16(0))
        moved.append(smallest + math.min(level, chroma))
    return fn.transpose(
        fn.cast(fn.stack(*moved, axis=0), dtype=types.UINT8), perm=[1, 2, 0], output_layout="HWC"
    )


def _color_jitter(images: Node, drawn: Drawn, plan: Plan) -> Node:
    for part in JITTER_PARTS:
        images = apply(images, part, drawn, plan)
    return images


_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
"""PIL's smoothing filter, from which sharpness moves away."""


def _sharpness(images: Node, drawn: Drawn, plan: Plan) -> Node:
    """PIL leaves the outermost pixels as they are; here they are sharpened like the others."""
    return _blend(_filtered(images, _constant(_SMOOTH)), images, drawn["sharpness_factor"])


def _gaussian_blur(images: Node, drawn: Drawn, plan: Plan) -> Node:
    largest = next(a for a in plan.augmentations if a.name == "gaussian_blur")
    kernel = _blur_kernel(_float(drawn["sigma_px"]), largest.settings["max_sigma_px"])
    return _filtered(_filtered(images, kernel), fn.transpose(kernel, perm=[1, 0]))


def _blur_kernel(sigma_px: Node, max_sigma_px: float) -> Node:
    """The weights of PIL's Gaussian blur: a box of fractional radius, convolved twice with itself.

    Source: Gwosdek et al., Theoretical Foundations of Gaussian Convolution by Extended Box
    Filtering (2011), section 2; three passes.
    """
    reach = 3 * (int(np.sqrt(4 * max_sigma_px**2 + 1) / 2) + 1)
    distances = np.abs(np.arange(-reach, reach + 1, dtype=np.float32)).reshape(1, -1)
    variance = sigma_px * sigma_px
    whole = math.floor((math.sqrt(4 * variance + 1) - 1) * 0.5)
    edge = (2 * whole + 1) * (whole * (whole + 1) - variance)
    radius = whole + edge / (2 * variance - 6 * (whole + 1) * (whole + 1))
    box = math.clamp(radius + 1 - _constant(distances), 0, 1) / (2 * radius + 1)
    return fn.filter(fn.filter(box, box, 0.0, border="constant"), box, 0.0, border="constant")


def _filtered(images: Node, kernel: Node) -> Node:
    on_gpu = getattr(images, "device", "cpu") == "gpu"
    return fn.filter(images, kernel.gpu() if on_gpu else kernel, border="clamp")


def _solarization(images: Node, drawn: Drawn, plan: Plan) -> Node:
    level = fn.cast(math.floor(_float(drawn["threshold"]) * 256.0 + 0.5), dtype=types.INT16)
    return images ^ (_uint8_constant(255) * (images >= level))


def _flip(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.flip(images, horizontal=1)


def _rotation(images: Node, drawn: Drawn, plan: Plan) -> Node:
    size = plan.crop_size
    matrix = fn.transforms.rotation(
        _unpad(), angle=-1.0 * _float(drawn["angle_deg"]), center=(size / 2, size / 2)
    )
    return _warped(images, matrix, plan)


def _shear(images: Node, drawn: Drawn, plan: Plan) -> Node:
    x, y = (-1.0 * _float(drawn[name]) for name in ("x_angle_deg", "y_angle_deg"))
    centre = (plan.crop_size / 2, plan.crop_size / 2)
    matrix = fn.transforms.shear(_unpad(), angles=fn.stack(x, x * 0.0), center=centre)
    matrix = fn.transforms.shear(matrix, angles=fn.stack(y * 0.0, y), center=centre)
    return _warped(images, matrix, plan)


def _warped(images: Node, matrix: Node, plan: Plan) -> Node:
    """Moves pixels by a matrix that starts from images with a border of one pixel.

    Outside of an image DALI repeats its outermost pixels: with the border, the fill colour.
    """
    bordered = _window(images, -1, plan.crop_size + 2, plan)
    size = (plan.crop_size, plan.crop_size)
    return fn.warp_affine(bordered, matrix=matrix, size=size, inverse_map=False)


def _unpad() -> Node:
    return fn.transforms.translation(offset=(-1.0, -1.0))


def _translation(images: Node, drawn: Drawn, plan: Plan) -> Node:
    right, down = (_float(drawn[name]) * plan.crop_size for name in ("x_shift", "y_shift"))
    start = fn.cast(fn.stack(down, right), dtype=types.INT32)  # a cast rounds
    return _window(images, -start, plan.crop_size, plan)


def _window(images: Node, start: Node, size: int, plan: Plan) -> Node:
    """A square of the plane that an image lies on, with the fill colour beside the image."""
    if isinstance(start, int):
        start = (start, start)
    return fn.slice(
        images,
        start=start,
        shape=(size, size),
        axes=(0, 1),
        out_of_bounds_policy="pad",
        fill_values=list(plan.fill),
    )


def _erasing(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.erase(
        images,
        anchor=fn.stack(_float(drawn["top_px"]), _float(drawn["left_px"])),
        shape=fn.stack(_float(drawn["height_px"]), _float(drawn["width_px"])),
        axis_names="HW",
        fill_value=list(plan.fill),
    )


def _float(value: Node) -> Node:
    return fn.cast(value, dtype=types.FLOAT) if hasattr(value, "device") else _constant(value)


def _constant(value: Any) -> Node:
    return types.Constant(np.asarray(value, np.float32), device="cpu")


def _int16(value: int) -> Any:
    return types.Constant(value, dtype=types.INT16)


def _uint8_constant(value: int) -> Any:
    return types.Constant(value, dtype=types.UINT8)


def _uint8(images: Node) -> Node:
    return fn.cast(images, dtype=types.UINT8)


_OPERATORS: Mapping[str, tuple[str, ...]] = {
    "crop": ("Resize",),
    "color_jitter": ("Brightness", "Contrast", "ColorSpaceConversion", "reductions__Mean"),
    "brightness": ("Brightness",),
    "contrast": ("Contrast", "ColorSpaceConversion", "reductions__Mean"),
    "saturation": ("ColorSpaceConversion",),
    "hue": ("Transpose",),
    "grayscale": ("ColorSpaceConversion",),
    "sharpness": ("Filter",),
    "gaussian_blur": ("Filter",),
    "equalization": ("Equalize",),
    "horizontal_flip": ("Flip",),
    "rotation": ("WarpAffine", "Slice"),
    "shear": ("WarpAffine", "Slice"),
    "translation": ("Slice",),
    "erasing": ("Erase",),
}
"""DALI's operators, beside arithmetic, that a type is made of on the images' device."""

_APPLY: Mapping[str, Callable[[Node, Drawn, Plan], Node]] = {
    "crop": _crop,
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
    "horizontal_flip": _flip,
    "rotation": _rotation,
    "shear": _shear,
    "translation": _translation,
    "erasing": _erasing,
}
