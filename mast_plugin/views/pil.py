"""One augmentation with given parameters, applied to a PIL image; nothing is random here.

Where several libraries could do the work, each type follows the one that solo-learn uses, so that
baselines see the images that they see there: PIL for blur, solarization and equalization,
torchvision for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mast_plugin.views.augmentation import JITTER_PARTS
from mast_plugin.views.plan import Plan

Drawn = Mapping[str, float]

_LONG = 16
"""How many times as long as wide an image may be to be resized as a whole."""


def apply(image: Image.Image, name: str, drawn: Drawn, plan: Plan) -> Image.Image:
    """Applies one augmentation.

    Args:
        image: RGB; any size for a crop, ``plan.crop_size`` square for the rest.
        name: the augmentation type.
        drawn: the parameters, as :func:`mast_plugin.views.drawing.draw` names them.
        plan: gives the size that a crop is brought to and the colour of uncovered pixels.

    Returns:
        The new image, or the same object where there is nothing to do.
    """
    return _APPLY[name](image, drawn, plan)


def centred(image: Image.Image, size_px: int) -> Image.Image:
    """The centred square: the shorter side is resized (bicubic), the longer one cropped."""
    width, height = image.size
    side = min(width, height)
    if max(width, height) > _LONG * side:
        # A line of pixels would first be resized to a line as thick as the view is high.
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((size_px, size_px), Image.Resampling.BICUBIC, box)
    resized = F.resize(image, [size_px], InterpolationMode.BICUBIC)
    square: Image.Image = F.center_crop(resized, [size_px])
    return square


def _crop(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    sides = (int(drawn[name]) for name in ("top_px", "left_px", "height_px", "width_px"))
    size = [plan.crop_size, plan.crop_size]
    cropped: Image.Image = F.resized_crop(image, *sides, size, InterpolationMode.BICUBIC)
    return cropped


def _hue(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    if drawn["hue_turns"] == 0:
        return image  # torchvision would round every pixel to HSV and back
    shifted: Image.Image = F.adjust_hue(image, drawn["hue_turns"])
    return shifted


def _color_jitter(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    for part in JITTER_PARTS:
        image = apply(image, part, drawn, plan)
    return image


def _rotation(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    """Positive angles turn the picture counter-clockwise."""
    fill, bilinear = list(plan.fill), InterpolationMode.BILINEAR
    turned: Image.Image = F.rotate(image, drawn["angle_deg"], bilinear, fill=fill)
    return turned


def _shear(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    """With tx, ty the angles' tangents, (x, y) goes to (x - tx y, (1 + tx ty) y - ty x).

    Coordinates are counted from the image's centre, x to the right and y down.
    """
    angles = [drawn["x_angle_deg"], drawn["y_angle_deg"]]
    return _affine(image, [0, 0], angles, InterpolationMode.BILINEAR, plan)


def _translation(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    """Positive shifts go right and down; whole pixels, so that nothing is blurred on the way."""
    shift = [round(drawn["x_shift"] * image.width), round(drawn["y_shift"] * image.height)]
    return _affine(image, shift, [0.0, 0.0], InterpolationMode.NEAREST, plan)


def _affine(
    image: Image.Image,
    shift: list[int],
    shear: list[float],
    interpolation: InterpolationMode,
    plan: Plan,
) -> Image.Image:
    fill = list(plan.fill)
    warped: Image.Image = F.affine(image, 0.0, shift, 1.0, shear, interpolation, fill=fill)
    return warped


def _erasing(image: Image.Image, drawn: Drawn, plan: Plan) -> Image.Image:
    left, top = int(drawn["left_px"]), int(drawn["top_px"])
    right, bottom = left + int(drawn["width_px"]), top + int(drawn["height_px"])
    image = image.copy()
    image.paste(plan.fill, (left, top, right, bottom))
    return image


_APPLY: Mapping[str, Callable[[Image.Image, Drawn, Plan], Image.Image]] = {
    "crop": _crop,
    "color_jitter": _color_jitter,
    "brightness": lambda image, drawn, plan: F.adjust_brightness(image, drawn["brightness_factor"]),
    "contrast": lambda image, drawn, plan: F.adjust_contrast(image, drawn["contrast_factor"]),
    "saturation": lambda image, drawn, plan: F.adjust_saturation(image, drawn["saturation_factor"]),
    "hue": _hue,
    "grayscale": lambda image, drawn, plan: image.convert("L").convert("RGB"),
    "sharpness": lambda image, drawn, plan: F.adjust_sharpness(image, drawn["sharpness_factor"]),
    "gaussian_blur": lambda image, drawn, plan: image.filter(
        ImageFilter.GaussianBlur(drawn["sigma_px"])
    ),
    "solarization": lambda image, drawn, plan: ImageOps.solarize(
        image, round(256 * drawn["threshold"])
    ),
    "equalization": lambda image, drawn, plan: ImageOps.equalize(image),
    "horizontal_flip": lambda image, drawn, plan: F.hflip(image),
    "rotation": _rotation,
    "shear": _shear,
    "translation": _translation,
    "erasing": _erasing,
}
