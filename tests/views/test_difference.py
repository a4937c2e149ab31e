"""The difference of a pair: what it says of each type, and that both interpreters say the same."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image

from mast_plugin.core.route import RoutePolicy
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.difference import PairDifference
from mast_plugin.views.drawing import draw_view
from mast_plugin.views.pil import apply
from mast_plugin.views.plan import Plan, pair_of
from mast_plugin.views.torchvision import RoutedViews

SIZE = 16
NAMES = [name for name in TYPES if name != "color_jitter"]


def plan_of(*augmentations):
    return Plan(SIZE, augmentations, (0.5,) * 3, (0.25,) * 3)


def always(name, **settings):
    return Augmentation(name, 1.0, settings)


def numbers(augmentation, applied, size=(40, 20)):
    return (
        PairDifference(plan_of(augmentation)).of_view({augmentation.name: applied}, size).tolist()
    )


def test_a_crop_says_where_its_box_lies_in_the_image():
    box = {"top_px": 10, "left_px": 0, "height_px": 10, "width_px": 5}
    expected = [(15 - 20) / 40, (2.5 - 10) / 20, math.log(1 / 4), math.log(1 / 4)]
    assert numbers(always("crop"), box) == pytest.approx(expected)


def test_a_view_without_its_crop_shows_the_centred_square():
    difference = PairDifference(plan_of(always("crop")))
    assert difference.of_view({}, (40, 20)).tolist() == pytest.approx([0, 0, math.log(1 / 2), 0])


def test_factors_count_from_one():
    drawn = {"brightness_factor": 1.2, "contrast_factor": 1, "saturation_factor": 0.5}
    jitter = numbers(always("color_jitter"), {**drawn, "hue_turns": -0.1})
    assert jitter == pytest.approx([0.2, 0, -0.5, -0.1])


def test_an_erased_box_says_its_centre_and_its_shares_of_the_view():
    box = {"top_px": 0, "left_px": 8, "height_px": 4, "width_px": 8}
    expected = [2 / 16 - 0.5, 12 / 16 - 0.5, 4 / 16, 8 / 16]
    assert numbers(always("erasing"), box) == pytest.approx(expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "crop"])
def test_what_does_not_act_says_zero(name):
    plan = plan_of(always(name))
    assert not PairDifference(plan).of_view({}, (40, 20)).any()


def test_a_switch_says_that_it_acts_and_a_flip_nothing():
    assert numbers(always("grayscale"), {}) == [1.0]
    assert numbers(always("horizontal_flip"), {}) == []
    assert PairDifference(plan_of(always("hue"), always("horizontal_flip"))).types == (0,)


def test_types_name_the_columns_of_a_route():
    difference = PairDifference(
        plan_of(always("crop"), always("hue"), always("shear", max_angle_deg=5))
    )
    assert difference.types == (0, 0, 0, 0, 1, 2, 2)


def test_numbers_that_never_vary_are_left_out():
    assert (
        PairDifference(plan_of(always("crop"), always("hue", max_shift_turns=0))).types == (0,) * 4
    )


@pytest.mark.slow
def test_the_difference_is_the_first_views_numbers_minus_the_seconds_in_units_of_their_spread():
    others = [Augmentation(name, 0.5) for name in NAMES[1:] if name != "hue"]
    plan = plan_of(always("crop"), always("hue", max_shift_turns=0.5), *others)
    difference, rng = PairDifference(plan), random.Random(5)
    size = (300, 300)
    views = [difference.of_view(draw_view(plan, size, rng), size) for _ in range(6000)]
    first, second = np.array(views[::2]), np.array(views[1::2])
    between = difference.between(first, second)
    assert between.shape == (3000, len(difference.types)) and between.dtype == np.float32
    np.testing.assert_allclose(between.std(axis=0), 1, atol=0.12)
    np.testing.assert_array_equal(between, -difference.between(second, first))
    assert not difference.between(first, first).any()


@pytest.mark.parametrize(
    ("turns", "shown"), [((0.45, -0.45), -0.1), ((-0.4, 0.5), 0.1), ((0.2, -0.1), 0.3)]
)
def test_hues_differ_by_the_shorter_way_round(turns, shown):
    jitter = always("color_jitter", hue=0.5)
    difference = PairDifference(plan_of(jitter))
    still = {"brightness_factor": 1, "contrast_factor": 1, "saturation_factor": 1}
    described = [
        difference.of_view({"color_jitter": {**still, "hue_turns": each}}, (40, 20))
        for each in (*turns, shown, 0)
    ]
    np.testing.assert_allclose(
        difference.between(*described[:2]), difference.between(*described[2:]), atol=1e-6
    )


def test_hues_half_a_turn_either_way_show_one_image_and_no_change():
    hue = always("hue", max_shift_turns=0.5)
    plan = plan_of(hue)
    difference, image = PairDifference(plan), Image.new("RGB", (SIZE, SIZE), (200, 10, 90))
    either = [{"hue_turns": turns} for turns in (0.5, -0.5)]
    first, second = (np.asarray(apply(image, "hue", each, plan), int) for each in either)
    assert np.abs(first - second).max() <= 12  # of 255: two of the 256 steps of a hue
    described = [difference.of_view({"hue": each}, (SIZE, SIZE)) for each in either]
    assert described[0].any() and not difference.between(*described).any()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_that_two_views_show_alike_has_no_change(name):
    views = RoutedViews(plan_of(Augmentation(name, 1.0)), RoutePolicy())
    views.policy = type("Off", (), {"draw": lambda *_: torch.zeros(1, 1, dtype=torch.bool)})()
    first, second, _, difference = views(Image.new("RGB", (30, 20), (200, 10, 90)))
    assert torch.equal(first, second) and not difference.any()


def test_many_views_at_once_are_described_as_one_by_one():
    plan = plan_of(always("crop"), *(Augmentation(name, 0.5) for name in NAMES[1:]))
    difference, rng = PairDifference(plan), random.Random(3)
    sizes = [(rng.randint(8, 60), rng.randint(8, 60)) for _ in range(50)]
    drawn = [draw_view(plan, size, rng) for size in sizes]
    expected = np.array([difference.of_view(*each) for each in zip(drawn, sizes, strict=True)])
    box_names = ("top_px", "left_px", "height_px", "width_px")
    boxes = np.array([[view["crop"][name] for name in box_names] for view in drawn])
    joined = {}
    for name in NAMES[1:]:
        known = next(view[name] for view in drawn if name in view)
        joined[name] = {
            key: np.array([view.get(name, known)[key] for view in drawn]) for key in known
        }
        joined[name]["active"] = np.array([name in view for view in drawn])
    np.testing.assert_allclose(difference.of_views(joined, boxes, np.array(sizes)), expected)


def test_what_one_view_alone_can_have_is_zero_on_the_other_and_measured_from_zero():
    first = plan_of(always("crop"), always("gaussian_blur", min_sigma_px=1, max_sigma_px=2))
    pair = pair_of(first, plan_of(always("crop"), Augmentation("solarization", 0.2)))
    difference, size, rng = PairDifference(pair), (300, 300), random.Random(5)
    assert difference.types == (0, 0, 0, 0, 1, 2)
    views = [
        np.array([difference.of_view(draw_view(view, size, rng), size) for _ in range(2000)])
        for view in pair.views
    ]
    assert views[0][:, 4].min() >= 1 and not views[0][:, 5].any()
    assert not views[1][:, 4].any() and 0.15 < views[1][:, 5].mean() < 0.25
    between = difference.between(*views)
    np.testing.assert_allclose((between.astype(float) ** 2).mean(axis=0), 1, atol=0.12)
    assert not difference.between(views[0], views[0]).any()


@pytest.mark.parametrize(("other", "numbers_"), [(1.0, ["active"]), (2.0, ["sigma_px"])])
def test_a_type_fixed_on_both_views_is_a_switch_where_it_is_fixed_alike(other, numbers_):
    fixed = [always("gaussian_blur", min_sigma_px=s, max_sigma_px=s) for s in (1.0, other)]
    pair = pair_of(
        *(plan_of(each, Augmentation("hue", 0.5 + i / 4)) for i, each in enumerate(fixed))
    )
    described = PairDifference(pair).of_view({"gaussian_blur": {"sigma_px": 2.0}}, (40, 20))
    assert described.tolist() == [0, 1.0 if numbers_ == ["active"] else 2.0]
