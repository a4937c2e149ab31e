import math
import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.drawing import draw
from mast_plugin.views.pil import apply
from mast_plugin.views.plan import Plan

SIZE = 32
ROUNDING = 1  # levels of 8 bits: two roundings of one number
SCALABLE = [name for name, kind in TYPES.items() if kind.has_strength]


def picture(height=SIZE, width=SIZE):
    """A smooth colourful image with some noise and a white pixel, without symmetries."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    smooth = np.stack([x, y * y, 0.5 + 0.5 * np.sin(5 * x + 3 * y)], axis=-1)
    noisy = 20 + 180 * smooth + rng.uniform(0, 40, smooth.shape)
    noisy[-1, -1] = 255
    return Image.fromarray(noisy.astype(np.uint8))


def always(name, **settings):
    return Augmentation(name, 1.0, settings)


def plan_of(augmentation, size=SIZE):
    return Plan(size, (augmentation,), mean=(0.5, 0.4, 0.3))


def pixels(image):
    return np.asarray(image).astype(int)


def blend(image, other, factor):
    mixed = other + factor * (pixels(image) - other)
    return np.clip(np.round(mixed), 0, 255)


def grey(image):
    return (pixels(image) @ [0.299, 0.587, 0.114])[..., None]


def shifted_hue(image, turns):
    hue, saturation, value = image.convert("HSV").split()
    moved = np.asarray(hue).astype(int) + int(turns * 255)
    hue = Image.fromarray((moved % 256).astype(np.uint8))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def jittered(image):
    image = ImageEnhance.Brightness(image).enhance(1.2)
    image = ImageEnhance.Contrast(image).enhance(0.7)
    return shifted_hue(ImageEnhance.Color(image).enhance(1.3), -0.1)


def translated(image, right, down, fill):
    moved = np.empty_like(pixels(image))
    moved[:] = fill
    moved[down:, :-right] = pixels(image)[:-down, right:]
    return moved


def erased(image, fill):
    holed = pixels(image)
    holed[3:10, 5:25] = fill
    return holed


FILL = plan_of(always("shear")).fill
BOX = {"top_px": 3, "left_px": 5, "height_px": 7, "width_px": 20}
ORACLES = [
    (
        "crop",
        BOX,
        lambda i: i.crop((5, 3, 25, 10)).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
    ),
    ("brightness", {"brightness_factor": 1.3}, lambda i: blend(i, 0, 1.3)),
    ("contrast", {"contrast_factor": 0.6}, lambda i: blend(i, round(grey(i).mean()), 0.6)),
    ("saturation", {"saturation_factor": 1.5}, lambda i: blend(i, np.round(grey(i)), 1.5)),
    ("hue", {"hue_turns": 0.2}, lambda i: shifted_hue(i, 0.2)),
    (
        "color_jitter",
        {
            "brightness_factor": 1.2,
            "contrast_factor": 0.7,
            "saturation_factor": 1.3,
            "hue_turns": -0.1,
        },
        jittered,
    ),
    ("grayscale", {}, lambda i: np.round(grey(i)).repeat(3, axis=-1)),
    ("sharpness", {"sharpness_factor": 1.8}, lambda i: ImageEnhance.Sharpness(i).enhance(1.8)),
    ("gaussian_blur", {"sigma_px": 1.5}, lambda i: i.filter(ImageFilter.GaussianBlur(1.5))),
    (
        "solarization",
        {"threshold": 0.5},
        lambda i: np.where(pixels(i) < 128, pixels(i), 255 - pixels(i)),
    ),
    ("equalization", {}, lambda i: Image.merge("RGB", [ImageOps.equalize(c) for c in i.split()])),
    ("horizontal_flip", {}, lambda i: pixels(i)[:, ::-1]),
    ("rotation", {"angle_deg": 90.0}, lambda i: np.rot90(pixels(i))),
    (
        "rotation",
        {"angle_deg": -20.0},
        lambda i: i.rotate(-20, Image.Resampling.BILINEAR, fillcolor=FILL),
    ),
    ("translation", {"x_shift": -0.1, "y_shift": 0.25}, lambda i: translated(i, 3, 8, FILL)),
    ("erasing", BOX, lambda i: erased(i, FILL)),
]


@pytest.mark.parametrize(("name", "drawn", "oracle"), ORACLES)
def test_forced_parameters_give_the_independently_computed_image(name, drawn, oracle):
    image = picture()
    found = pixels(apply(image, name, drawn, plan_of(always(name))))
    assert np.abs(found - pixels(oracle(image))).max() <= ROUNDING


def test_shear_moves_points_as_documented():
    tx, ty = math.tan(math.radians(10)), math.tan(math.radians(-5))
    image = picture(64, 64)
    drawn = {"x_angle_deg": 10.0, "y_angle_deg": -5.0}
    found = pixels(apply(image, "shear", drawn, plan_of(always("shear"), size=64)))
    y, x = np.mgrid[0:64, 0:64] - 31.5
    # The way back, from a point of the sheared image to where its colour comes from.
    back = np.linalg.inv([[1, -tx], [-ty, 1 + tx * ty]])
    source_x = back[0, 0] * x + back[0, 1] * y + 31.5
    source_y = back[1, 0] * x + back[1, 1] * y + 31.5
    inside = (source_x > 0) & (source_x < 63) & (source_y > 0) & (source_y < 63)
    left, top = (np.floor(s[inside]).astype(int) for s in (source_x, source_y))
    dx, dy = (source_x[inside] - left)[:, None], (source_y[inside] - top)[:, None]
    p = pixels(image)
    above = p[top, left] * (1 - dx) + p[top, left + 1] * dx
    below = p[top + 1, left] * (1 - dx) + p[top + 1, left + 1] * dx
    expected = above * (1 - dy) + below * dy
    assert inside.mean() > 0.7
    assert np.abs(found[inside] - expected).max() <= ROUNDING
    outside = (source_x < -1) | (source_x > 64) | (source_y < -1) | (source_y > 64)
    assert (found[outside] == FILL).all()


@pytest.mark.parametrize("name", TYPES)
def test_every_type_changes_an_image(name):
    image, augmentation = picture(), always(name)
    drawn = draw(augmentation, (SIZE, SIZE), random.Random(1))
    changed = apply(image, name, drawn, plan_of(augmentation))
    assert changed.size == image.size
    assert np.abs(pixels(changed) - pixels(image)).mean() > 1


@pytest.mark.parametrize("name", SCALABLE)
def test_no_strength_leaves_an_image_alone(name):
    image, augmentation = picture(), always(name).scaled(0)
    drawn = draw(augmentation, (SIZE, SIZE), random.Random(1))
    assert (pixels(apply(image, name, drawn, plan_of(augmentation))) == pixels(image)).all()


@pytest.mark.parametrize("name", TYPES)
def test_the_given_image_is_not_changed(name):
    image, augmentation = picture(), always(name)
    before = pixels(image).copy()
    apply(image, name, draw(augmentation, (SIZE, SIZE), random.Random(1)), plan_of(augmentation))
    assert (pixels(image) == before).all()
