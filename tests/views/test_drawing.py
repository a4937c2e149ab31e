import math
import random
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import RandomResizedCrop

from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.drawing import draw, ranges

BOXES = ("crop", "erasing")
SIZE = (32, 32)


def draws(augmentation, count, size=SIZE):
    rng = random.Random(0)
    return [draw(augmentation, size, rng) for _ in range(count)]


def scale(box, size):
    return box["height_px"] * box["width_px"] / (size[0] * size[1])


@pytest.mark.parametrize("name", TYPES)
def test_every_type_names_what_it_draws(name):
    augmentation = Augmentation(name, 1)
    drawn = draw(augmentation, SIZE, random.Random(0))
    box = {"top_px", "left_px", "height_px", "width_px"}
    assert set(drawn) == (box if name in BOXES else set(ranges(augmentation)))


@pytest.mark.parametrize("name", [name for name in TYPES if name not in BOXES])
def test_numbers_keep_to_their_ranges_and_approach_both_ends(name):
    augmentation = Augmentation(name, 1)
    drawn = draws(augmentation, 1000)
    for key, (low, high) in ranges(augmentation).items():
        values = [each[key] for each in drawn]
        assert low <= min(values) <= low + 0.02 * (high - low)
        assert high >= max(values) >= high - 0.02 * (high - low)


RANGES = [
    ("brightness", {"max_change": 0.4}, {"brightness_factor": (0.6, 1.4)}),
    ("contrast", {"max_change": 1.5}, {"contrast_factor": (0, 2.5)}),
    ("saturation", {"max_change": 0}, {"saturation_factor": (1, 1)}),
    ("sharpness", {"max_change": 0.5}, {"sharpness_factor": (0.5, 1.5)}),
    ("hue", {"max_shift_turns": 0.2}, {"hue_turns": (-0.2, 0.2)}),
    (
        "color_jitter",
        {"brightness": 0.1, "contrast": 0.2, "saturation": 0.3, "hue": 0.4},
        {
            "brightness_factor": (0.9, 1.1),
            "contrast_factor": (0.8, 1.2),
            "saturation_factor": (0.7, 1.3),
            "hue_turns": (-0.4, 0.4),
        },
    ),
    ("gaussian_blur", {"min_sigma_px": 0.5, "max_sigma_px": 3}, {"sigma_px": (0.5, 3)}),
    ("solarization", {"threshold": 0.25}, {"threshold": (0.25, 0.25)}),
    ("rotation", {"max_angle_deg": 20}, {"angle_deg": (-20, 20)}),
    ("shear", {"max_angle_deg": 8}, {"x_angle_deg": (-8, 8), "y_angle_deg": (-8, 8)}),
    ("translation", {"max_shift": 0.25}, {"x_shift": (-0.25, 0.25), "y_shift": (-0.25, 0.25)}),
    (
        "crop",
        {"min_scale": 0.2, "max_scale": 0.9, "min_ratio": 0.5, "max_ratio": 2},
        {"scale": (0.2, 0.9), "log_ratio": (-math.log(2), math.log(2))},
    ),
    (
        "erasing",
        {"min_area": 0.1, "max_area": 0.2, "min_ratio": 1, "max_ratio": 1},
        {"area": (0.1, 0.2), "log_ratio": (0, 0)},
    ),
]


@pytest.mark.parametrize(("name", "settings", "expected"), RANGES)
def test_ranges_follow_the_settings(name, settings, expected):
    found = ranges(Augmentation(name, 1, settings))
    assert found.keys() == expected.keys()
    for key, bounds in expected.items():
        assert found[key] == pytest.approx(bounds)


def test_numbers_of_one_application_are_independent():
    drawn = draws(Augmentation("shear", 1), 1000)
    correlation = statistics.correlation(
        [each["x_angle_deg"] for each in drawn], [each["y_angle_deg"] for each in drawn]
    )
    assert abs(correlation) < 5 / math.sqrt(1000)


def test_the_same_seed_draws_the_same():
    crop = Augmentation("crop", 1)
    assert draws(crop, 5) == draws(crop, 5)


sides = st.integers(1, 80)


@settings(derandomize=True, deadline=None)
@pytest.mark.parametrize("name", BOXES)
@given(height=sides, width=sides, start=st.integers(0, 10**6), strength=st.floats(0, 1))
def test_boxes_are_whole_pixels_inside_the_image(name, height, width, start, strength):
    augmentation = Augmentation(name, 1).scaled(strength)
    box = draw(augmentation, (height, width), random.Random(start))
    assert all(value == int(value) >= 0 for value in box.values())
    assert box["top_px"] + box["height_px"] <= height
    assert box["left_px"] + box["width_px"] <= width
    if name == "crop":
        assert min(box["height_px"], box["width_px"]) >= 1


def test_crops_keep_to_their_scale_and_approach_both_ends():
    size = (200, 200)
    scales = [scale(box, size) for box in draws(Augmentation("crop", 1), 3000, size)]
    assert 0.08 - 0.005 <= min(scales) <= 0.09
    assert 1 >= max(scales) >= 0.96


def test_crops_keep_to_their_shapes_and_approach_both_ends():
    shapes = [
        math.log(box["width_px"] / box["height_px"])
        for box in draws(Augmentation("crop", 1), 3000, (400, 400))
    ]
    assert math.log(3 / 4) - 0.02 <= min(shapes) <= math.log(3 / 4) + 0.02
    assert math.log(4 / 3) + 0.02 >= max(shapes) >= math.log(4 / 3) - 0.02


def test_crops_are_distributed_as_torchvisions():
    count, size = 4000, (48, 64)
    ours = draws(Augmentation("crop", 1, {"min_scale": 0.2}), count, size)
    torch.manual_seed(0)
    blank = torch.zeros(3, *size)
    names = ("top_px", "left_px", "height_px", "width_px")
    theirs = [
        dict(
            zip(names, RandomResizedCrop.get_params(blank, [0.2, 1.0], [3 / 4, 4 / 3]), strict=True)
        )
        for _ in range(count)
    ]
    measures = [lambda box: scale(box, size), *(lambda box, n=name: box[n] for name in names)]
    for measure in measures:
        a, b = [measure(box) for box in ours], [measure(box) for box in theirs]
        error = math.hypot(statistics.stdev(a), statistics.stdev(b)) / math.sqrt(count)
        assert abs(statistics.mean(a) - statistics.mean(b)) < 5 * error
        assert statistics.stdev(a) == pytest.approx(statistics.stdev(b), rel=0.06)


def test_a_crop_of_no_strength_is_the_largest_centred_square():
    box = draw(Augmentation("crop", 1).scaled(0), (40, 60), random.Random(0))
    assert box == {"top_px": 0, "left_px": 10, "height_px": 40, "width_px": 40}


def test_a_crop_that_never_fits_is_the_largest_centred_box_of_an_allowed_shape():
    everything = Augmentation("crop", 1, {"min_scale": 1})
    whole = {"top_px": 0, "left_px": 0, "height_px": 50, "width_px": 50}
    assert draw(everything, (50, 50), random.Random(0)) == whole
    wide = Augmentation("crop", 1, {"min_scale": 1, "min_ratio": 1.25})
    slice_ = {"top_px": 5, "left_px": 0, "height_px": 40, "width_px": 50}
    assert draw(wide, (50, 50), random.Random(0)) == slice_


def test_erased_boxes_keep_to_their_area_and_approach_both_ends():
    size = (400, 400)
    erasing = Augmentation("erasing", 1, {"min_area": 0.1, "max_area": 0.3})
    areas = [scale(box, size) for box in draws(erasing, 3000, size)]
    assert 0.1 - 0.005 <= min(areas) <= 0.105
    assert 0.3 + 0.005 >= max(areas) >= 0.295


def test_an_erased_box_longer_than_the_image_is_clipped():
    wide = {"min_area": 0.5, "max_area": 0.5, "min_ratio": 10, "max_ratio": 10}
    box = draw(Augmentation("erasing", 1, wide), (40, 40), random.Random(0))
    assert (box["height_px"], box["width_px"]) == (9, 40)


@pytest.mark.parametrize("name", BOXES)
def test_boxes_lie_anywhere_with_equal_chance(name):
    small = {"crop": {"max_scale": 0.2}, "erasing": {"max_area": 0.1}}[name]
    boxes = draws(Augmentation(name, 1, small), 3000, (400, 400))
    for near, length in (("top_px", "height_px"), ("left_px", "width_px")):
        places = [box[near] / (400 - box[length]) for box in boxes]
        assert min(places) < 0.01
        assert max(places) > 0.99
        assert statistics.mean(places) == pytest.approx(0.5, abs=5 / math.sqrt(12 * 3000))
