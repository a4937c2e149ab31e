import random

import numpy as np
import pytest
from PIL import Image

from mast_plugin.core.route import RoutePolicy
from mast_plugin.views import pil
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.drawing import draw
from mast_plugin.views.plan import Plan

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'mast-plugin[dali]'")

from nvidia.dali import Pipeline, fn

from mast_plugin.loading.dali.draw import BOX, Draws, settings_key
from mast_plugin.loading.dali.kernel import crop as kernel_crop
from mast_plugin.loading.dali.kernel import operator as dali_kernel
from mast_plugin.loading.dali.kernel.fused import STEPS, passes_of
from mast_plugin.views.difference import ACTIVE
from mast_plugin.views.drawing import CROP_ATTEMPTS

pytestmark = pytest.mark.slow

NAMES = list(STEPS)
PARAMETERS = {name: parameter for name, (_, parameter) in STEPS.items()}
PLAN = Plan(16, tuple(Augmentation(name, 0.5) for name in NAMES), (0.5,) * 3, (0.2,) * 3)
VALUES = {
    "hue": (-0.5, -0.1, 0.03, 0.4),
    "grayscale": (1.0,),
    "gaussian_blur": (0.05, 0.4, 1.0, 2.5),
    "solarization": (0.0, 0.3, 0.5, 1.0),
    "equalization": (1.0,),
}
"""Settings to try; factors otherwise."""
LEVELS = {"hue": (1.8, 16), "gaussian_blur": (1.0, 2)}
"""Mean and largest difference to PIL, which rounds hue and saturation to 8 bits each, and after
each of six passes of its blur."""
MARGIN = {"gaussian_blur": 8}
"""PIL repeats the border once for each pass of its blur, we do so once."""


def noise(height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def recoloured(image, values):
    """A square image, cropped to itself and changed in the order of the values, as integers."""
    changed, whole = np.empty_like(image), box_numbers(active=False)
    steps = np.array([STEPS[name][0] for name in values], np.int32)
    settings = np.array(list(values.values()), np.float32)
    given = np.zeros(len(image), np.float32), steps, image, whole, settings
    dali_kernel._run_pass(changed, np.empty(6, np.float32), *given)
    return changed.astype(int)


def box_numbers(place=(0, 0), sides=(), active=True):
    """For one image; further sides than the given ones fit nowhere."""
    numbers = np.full(kernel_crop.BOX_NUMBERS, 1e3, np.float32)
    numbers[:5] = active, *place, 3 / 4, 4 / 3
    numbers[5 : 5 + np.size(sides)] = np.ravel(sides)
    return numbers


def passed(images, boxes, settings, plan):
    """Through a pipeline, as integers."""
    pipeline = Pipeline(len(images), 2, None)
    with pipeline:
        batch, box, numbers = fn.external_source(
            source=lambda: (images, boxes, [np.float32(each) for each in settings]), num_outputs=3
        )
        batch = fn.reshape(batch, layout="HWC")
        ((fields, _),) = passes_of(plan)
        changed, _ = dali_kernel.first_pass(batch, box, numbers, fields, plan.crop_size)
        pipeline.set_outputs(changed)
    (output,) = pipeline.run()
    return output.as_array().astype(int)


@pytest.mark.parametrize("name", NAMES)
def test_each_type_gives_pils_image(name):
    for seed, value in enumerate(VALUES.get(name, (0.0, 0.3, 1.7, 2.5))):
        image = noise(seed=seed)
        expected = pil.apply(Image.fromarray(image), name, {PARAMETERS[name]: value}, PLAN)
        found = recoloured(image, {name: value})
        inner = slice(MARGIN.get(name, 0), len(image) - MARGIN.get(name, 0))
        difference = np.abs(found - np.asarray(expected).astype(int))[inner, inner]
        mean, largest = LEVELS.get(name, (0, 0))
        assert difference.mean() <= mean
        assert difference.max() <= largest


@pytest.mark.parametrize("size", [4, 16, 40])
def test_few_levels_are_flattened_as_pil_flattens_them(size):
    image = (noise(size, size) // 60 * 50).astype(np.uint8)
    image[..., 2] = 7
    expected = pil.apply(Image.fromarray(image), "equalization", {}, PLAN)
    assert (recoloured(image, {"equalization": 1.0}) == np.asarray(expected)).all()


def test_the_types_follow_each_other_in_pils_order():
    values = {
        "brightness": 1.4,
        "contrast": 0.6,
        "saturation": 1.8,
        "sharpness": 2.0,
        "solarization": 0.6,
        "equalization": 1.0,
    }
    found = recoloured(noise(), values)
    expected = Image.fromarray(noise())
    for name, value in values.items():
        expected = pil.apply(expected, name, {PARAMETERS[name]: value}, PLAN)
    assert (found == np.asarray(expected)).all()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_images_are_treated_alike(size):
    values = {"brightness": 1.2, "contrast": 0.7, "saturation": 1.5, "sharpness": 1.9}
    found = recoloured(noise(size, size), {**values, "gaussian_blur": 0.01})
    expected = Image.fromarray(noise(size, size))
    for name, value in values.items():
        expected = pil.apply(expected, name, {PARAMETERS[name]: value}, PLAN)
    assert (found == np.asarray(expected)).all()


def test_steps_that_do_not_act_leave_images_as_they_are():
    found = recoloured(noise(), dict.fromkeys(NAMES, np.nan))
    assert (found == noise()).all()
    neutral = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0, "sharpness": 1}
    assert (recoloured(noise(), {**neutral, "gaussian_blur": 0}) == noise()).all()


@pytest.mark.parametrize("jitter", [True, False])
def test_settings_hold_what_was_drawn_where_a_type_is_active(jitter):
    parts = ("brightness", "contrast", "saturation", "hue")
    kinds = ("color_jitter", *NAMES[4:]) if jitter else NAMES
    plan = Plan(16, tuple(Augmentation(name, 0.5) for name in kinds), (0.5,) * 3, (0.2,) * 3)
    policy = RoutePolicy(0.2, 0.6)
    separate, route, _ = Draws((plan, plan), policy).draw(300, np.random.default_rng(1))
    joined, same_route, _ = Draws((plan, plan), policy, True).draw(300, np.random.default_rng(1))
    assert (route == same_route).all()
    assert set(joined) == {key for view in (0, 1) for key in ((view, *BOX), settings_key(view, 0))}
    ((fields, _),) = passes_of(plan)
    assert [field.part for field in fields] == NAMES
    for view in (0, 1):
        for column, (kind, name, _, parameter) in enumerate(fields):
            assert kind == ("color_jitter" if jitter and name in parts else name)
            active = separate[view, kind, ACTIVE]
            expected = np.where(active, separate[view, kind, parameter], np.nan)
            np.testing.assert_array_equal(joined[settings_key(view, 0)][:, column], expected)
            assert 0 < active.sum() < 300


def test_types_outside_of_the_pass_stay_by_themselves():
    plan = Plan(16, (Augmentation("hue", 0.5), Augmentation("rotation", 0.5)), (0,) * 3, (1,) * 3)
    drawn, _, _ = Draws((plan,), None, True).draw(4, np.random.default_rng(0))
    names = {("rotation", ACTIVE), ("rotation", "angle_deg"), BOX}
    assert set(drawn) == {*((0, *rest) for rest in names), settings_key(0, 0)}


@pytest.mark.parametrize("size", [(30, 40), (9, 200), (1, 1)])
def test_a_box_is_the_first_that_fits_as_plain_loops_find_it(size):
    rng = np.random.default_rng(0)
    height, width = size
    for _ in range(50):
        sides = rng.uniform(0.2, 1.6, (CROP_ATTEMPTS, 2)).astype(np.float32)
        place = rng.random(2, np.float32)
        box = np.zeros(4, np.float32)
        kernel_crop.place_box(box, height, width, box_numbers(place, sides))
        pixels = np.floor(sides * np.sqrt(np.float32(height * width)) + 0.5)
        fitting = [p for p in pixels if 1 <= p[0] <= height and 1 <= p[1] <= width]
        if fitting:
            tall, wide = fitting[0]
            top, left = np.floor(place * (np.float32(size) - fitting[0] + 1))
        else:
            fallback = draw(
                Augmentation("crop", 1, {"min_scale": 1, "min_ratio": 3 / 4, "max_ratio": 4 / 3}),
                size,
                _NeverFits(),
            )
            tall, wide = fallback["height_px"], fallback["width_px"]
            top, left = fallback["top_px"], fallback["left_px"]
        np.testing.assert_array_equal(box, [top, left, top + tall, left + wide])


def test_without_a_crop_the_box_is_the_largest_centred_square():
    box = np.zeros(4, np.float32)
    kernel_crop.place_box(box, 20, 33, box_numbers(sides=[(0.1, 0.1)], active=False))
    np.testing.assert_array_equal(box, [0, 6, 20, 26])


@pytest.mark.parametrize(
    ("box", "size"),
    [((3, 4, 40, 52), 32), ((0, 0, 50, 61), 16), ((20, 30, 9, 7), 24), ((5, 5, 16, 16), 16)],
)
def test_a_box_is_resized_as_pil_resizes_it(box, size):
    image, resized = noise(50, 61), np.empty((size, size, 3), np.uint8)
    top, left, height, width = box
    corners = np.float32([top, left, top + height, left + width])
    kernel_crop.resize_box(resized, image, corners)
    numbers = dict(zip(("top_px", "left_px", "height_px", "width_px"), box, strict=True))
    plan = Plan(size, (Augmentation("crop", 1.0),), (0.5,) * 3, (0.2,) * 3)
    expected = pil.apply(Image.fromarray(image), "crop", numbers, plan)
    assert np.abs(resized.astype(int) - np.asarray(expected)).max() <= 1


def test_a_pipeline_crops_and_then_recolours_images_of_any_sizes():
    images = [noise(40, 50), noise(31, 27, seed=1)]
    sides = (0.4, 0.5)  # wide: of tall boxes, newer Pillows resize the columns first
    kinds = (Augmentation("crop", 1.0), Augmentation("contrast", 1.0))
    plan = Plan(16, kinds, (0.5,) * 3, (0.2,) * 3)
    settings = [[np.nan], [1.6]]
    found = passed(images, [box_numbers((0, 0.5), sides)] * 2, settings, plan)
    for image, changed, values in zip(images, found, settings, strict=True):
        height, width = (
            int(side * np.sqrt(image.shape[0] * image.shape[1]) + 0.5) for side in sides
        )
        left = int(0.5 * (image.shape[1] - width + 1))
        numbers = {"top_px": 0, "left_px": left, "height_px": height, "width_px": width}
        expected = pil.apply(Image.fromarray(image), "crop", numbers, plan)
        factor = np.nan_to_num(values[0], nan=1.0)
        expected = pil.apply(expected, "contrast", {"contrast_factor": factor}, plan)
        assert np.abs(changed - np.asarray(expected)).max() <= 2


class _NeverFits(random.Random):
    """Draws areas that no image holds, so that what is drawn is the fallback."""

    def uniform(self, low, high):
        return 50.0
