import random

import numpy as np
import pytest
from PIL import Image

from mast_plugin.augmentation import Augmentation
from mast_plugin.drawing import draw
from mast_plugin.plan import Plan
from mast_plugin.route import RoutePolicy
from mast_plugin.views import pil

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'mast-plugin[dali]'")

from nvidia.dali import Pipeline, fn

from mast_plugin.dali.draw import JOINED, Draws
from mast_plugin.drawing import CROP_ATTEMPTS
from mast_plugin.views import dali_kernel
from mast_plugin.views.dali_kernel import IDENTITY, SETTINGS
from mast_plugin.views.dali_node import ACTIVE

NAMES = list(SETTINGS)
PLAN = Plan(16, tuple(Augmentation(name, 0.5) for name in NAMES), (0.5,) * 3, (0.2,) * 3)
HUE_LEVELS = (1.8, 16)
"""Mean and largest difference to PIL, which rounds hue and saturation to 8 bits each."""


def noise(height=24, width=31, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def recoloured(images, settings):
    """Through a pipeline, as integers."""
    pipeline = Pipeline(len(images), 2, None)
    with pipeline:
        batch, numbers = fn.external_source(
            source=lambda: (images, [np.float32(each) for each in settings]), num_outputs=2
        )
        batch = fn.reshape(batch, layout="HWC")
        pipeline.set_outputs(dali_kernel.recoloured(batch, numbers))
    (output,) = pipeline.run()
    return [np.array(output.at(i)).astype(int) for i in range(len(images))]


def setting(**values):
    return [values.get(name, neutral) for name, neutral in zip(NAMES, IDENTITY, strict=True)]


def drawn_for_pil(name, value):
    return {SETTINGS[name]: value}


@pytest.mark.parametrize("name", NAMES)
def test_each_type_gives_pils_image(name):
    values = {"grayscale": [1.0], "hue": [-0.5, -0.1, 0.03, 0.4]}.get(name, [0.0, 0.3, 1.7, 2.5])
    images = [noise(seed=i) for i in range(len(values))]
    found = recoloured(images, [setting(**{name: value}) for value in values])
    for image, value, changed in zip(images, values, found, strict=True):
        expected = pil.apply(Image.fromarray(image), name, drawn_for_pil(name, value), PLAN)
        difference = np.abs(changed - np.asarray(expected).astype(int))
        mean, largest = HUE_LEVELS if name == "hue" else (0, 0)
        assert difference.mean() <= mean
        assert difference.max() <= largest


def test_the_types_follow_each_other_in_pils_order():
    values = {"brightness": 1.4, "contrast": 0.6, "saturation": 1.8, "sharpness": 2.0}
    (found,) = recoloured([noise()], [setting(**values)])
    expected = Image.fromarray(noise())
    for name, value in values.items():
        expected = pil.apply(expected, name, drawn_for_pil(name, value), PLAN)
    assert (found == np.asarray(expected)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (9, 1), (3, 3)])
def test_the_smallest_images_are_treated_alike(size):
    values = setting(brightness=1.2, contrast=0.7, saturation=1.5, sharpness=1.9)
    (found,) = recoloured([noise(*size)], [values])
    expected = Image.fromarray(noise(*size))
    for name, value in zip(NAMES, values, strict=True):
        if name not in ("hue", "grayscale"):
            expected = pil.apply(expected, name, drawn_for_pil(name, value), PLAN)
    assert (found == np.asarray(expected)).all()


def test_the_identity_leaves_images_as_they_are():
    (found,) = recoloured([noise()], [IDENTITY])
    assert (found == noise()).all()


@pytest.mark.parametrize("jitter", [True, False])
def test_settings_hold_what_was_drawn_where_a_type_is_active(jitter):
    parts = ("brightness", "contrast", "saturation", "hue")
    kinds = ("color_jitter", "grayscale", "sharpness") if jitter else NAMES
    plan = Plan(16, tuple(Augmentation(name, 0.5) for name in kinds), (0.5,) * 3, (0.2,) * 3)
    policy = RoutePolicy(0.2, 0.6)
    separate, route = Draws((plan, plan), policy).draw(300, np.random.default_rng(1))
    joined, same_route = Draws((plan, plan), policy, True).draw(300, np.random.default_rng(1))
    assert (route == same_route).all()
    assert set(joined) == {(0, *JOINED), (1, *JOINED)}
    for view in (0, 1):
        for column, name in enumerate(NAMES):
            kind = "color_jitter" if jitter and name in parts else name
            active = separate[view, kind, ACTIVE]
            drawn = separate[view, kind, SETTINGS[name]]
            expected = np.where(active, drawn, IDENTITY[column])
            np.testing.assert_array_equal(joined[(view, *JOINED)][:, column], expected)
            assert 0 < active.sum() < 300


def test_types_outside_of_the_pass_stay_by_themselves():
    plan = Plan(16, (Augmentation("hue", 0.5), Augmentation("rotation", 0.5)), (0,) * 3, (1,) * 3)
    drawn, _ = Draws((plan,), None, True).draw(4, np.random.default_rng(0))
    assert set(drawn) == {(0, *JOINED), (0, "rotation", ACTIVE), (0, "rotation", "angle_deg")}


@pytest.mark.parametrize("size", [(30, 40), (9, 200), (1, 1)])
def test_a_box_is_the_first_that_fits_as_plain_loops_find_it(size):
    rng = np.random.default_rng(0)
    height, width = size
    for _ in range(50):
        sides = rng.uniform(0.2, 1.6, (CROP_ATTEMPTS, 2)).astype(np.float32)
        place = rng.random(2, np.float32)
        box = np.zeros(4, np.float32)
        extent, ratio = np.float32(size), np.float32([3 / 4, 4 / 3])
        dali_kernel._place_box(box, extent, np.ones(1, np.float32), sides, place, ratio)
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


class _NeverFits(random.Random):
    """Draws areas that no image holds, so that what is drawn is the fallback."""

    def uniform(self, low, high):
        return 50.0
