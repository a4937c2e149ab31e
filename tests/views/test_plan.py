import pytest

from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.plan import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Plan,
    ViewSpec,
    parse_pair,
    parse_views,
)

OURS = {
    "crop_size": 32,
    "num_crops": 2,
    "crop": {"min_scale": 0.2, "max_scale": 1.0},
    "horizontal_flip": {"prob": 0.5},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "solarization": {"prob": 0.1},
}
SOLO = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {"enabled": True, **OURS["color_jitter"]},
    "grayscale": {"enabled": True, "prob": 0.2},
    "gaussian_blur": {"enabled": False, "prob": 0.0},
    "solarization": {"prob": 0.1},
    "equalization": {"enabled": False},
    "horizontal_flip": {"enabled": True, "prob": 0.5},
    "crop_size": 32,
    "num_crops": 2,
}


def changed(block, **changes):
    """The block with keys replaced, or removed where the new value is None."""
    return {key: value for key, value in {**block, **changes}.items() if value is not None}


def test_a_block_becomes_a_plan_in_canonical_order():
    (spec,) = parse_views([OURS])
    assert spec.num_crops == 2
    assert spec.plan.crop_size == 32
    expected = ("crop", "color_jitter", "grayscale", "solarization", "horizontal_flip")
    assert spec.plan.types == expected
    assert spec.plan.augmentations[0] == Augmentation("crop", 1, {"min_scale": 0.2})
    assert spec.plan.augmentations[2].prob == 0.2


def test_solo_learns_dialect_gives_the_same_plan():
    assert parse_views([SOLO]) == parse_views([OURS])


def test_solo_learns_switched_off_crop_is_absent():
    (spec,) = parse_views([changed(SOLO, rrc={"enabled": False})])
    assert "crop" not in spec.plan.types


def test_a_probability_of_zero_is_absence():
    with_zero = changed(OURS, rotation={"prob": 0.0})
    assert parse_views([with_zero]) == parse_views([OURS])


def test_an_empty_mapping_takes_all_defaults():
    (spec,) = parse_views([{"crop_size": 32, "num_crops": 1, "shear": {}}])
    assert spec.plan.augmentations == (Augmentation("shear", TYPES["shear"].prob),)


def test_strength_scales_a_type():
    (spec,) = parse_views([changed(OURS, rotation={"max_angle_deg": 30, "strength": 0.5})])
    assert spec.plan.augmentations[-1].settings == {"max_angle_deg": 15}


def test_normalisation_is_imagenets_by_default():
    (spec,) = parse_views([OURS])
    assert (spec.plan.mean, spec.plan.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_normalisation_comes_from_the_caller_and_a_block_overrides_it():
    blocks = [OURS, changed(SOLO, mean=[0.1, 0.2, 0.3], std=[1, 0.5, 0.25])]
    first, second = parse_views(blocks, mean=[0.4, 0.5, 0.6], std=(0.2, 0.2, 0.2))
    assert (first.plan.mean, first.plan.std) == ((0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    assert (second.plan.mean, second.plan.std) == ((0.1, 0.2, 0.3), (1, 0.5, 0.25))


def test_blocks_are_not_changed_by_reading_them():
    before = repr(SOLO)
    parse_views([SOLO])
    assert repr(SOLO) == before


def test_several_blocks_keep_their_order():
    specs = parse_views([changed(OURS, num_crops=2), changed(OURS, crop_size=16, num_crops=6)])
    assert [(spec.plan.crop_size, spec.num_crops) for spec in specs] == [(32, 2), (16, 6)]


def test_the_fill_is_the_mean_in_eight_bits():
    plan = Plan(8, (Augmentation("shear", 1),), mean=(0.0, 0.5, 1.0))
    assert plan.fill == (0, 128, 255)


def test_one_block_with_two_crops_or_the_same_block_twice_makes_a_pair():
    once = changed(OURS, num_crops=1)
    assert parse_pair([OURS]) == parse_pair([once, once]) == parse_views([OURS])[0].plan


@pytest.mark.parametrize(
    "blocks",
    [
        [changed(OURS, num_crops=1)],
        [changed(OURS, num_crops=3)],
        [OURS, OURS],
        [OURS, changed(OURS, crop_size=16, num_crops=6)],
    ],
)
def test_a_pair_of_any_other_number_of_views_is_refused(blocks):
    with pytest.raises(ConfigurationError, match=r"two views .* one block with num_crops: 2"):
        parse_pair(blocks)


FIRST = changed(SOLO, num_crops=1, gaussian_blur={"prob": 1.0}, solarization={"prob": 0.0})
SECOND = changed(SOLO, num_crops=1, gaussian_blur={"prob": 0.1}, solarization={"prob": 0.2})


def test_two_blocks_make_a_pair_of_two_plans_over_the_union_of_their_types():
    pair = parse_pair([FIRST, SECOND])
    assert pair.views == tuple(spec.plan for spec in parse_views([FIRST, SECOND]))
    shared = ("crop", "color_jitter", "grayscale", "gaussian_blur")
    assert pair.types == (*shared, "solarization", "horizontal_flip")
    assert [each.prob for each in pair.augmentations[3:5]] == [1.0, 0.2]
    assert (pair.crop_size, pair.mean) == (32, IMAGENET_MEAN)
    assert parse_pair([SECOND, FIRST]) != pair


def test_equal_views_make_a_plain_plan():
    once = changed(OURS, num_crops=1)
    plan = parse_pair([once, once])
    assert type(plan) is Plan and plan.views == (plan, plan)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"crop_size": 16}, ["crop_size", "32", "16"]),
        ({"std": [0.5, 0.5, 0.5]}, ["std", "0.5"]),
        ({"color_jitter": None, "hue": {}}, ["color_jitter already contains hue"]),
    ],
)
def test_two_views_that_make_no_pair_are_refused(changes, named):
    once = changed(OURS, num_crops=1)
    with pytest.raises(ConfigurationError) as refusal:
        parse_pair([once, changed(once, **changes)])
    assert all(word in str(refusal.value) for word in named)


REFUSED_BLOCKS = [
    (changed(OURS, rotate={"prob": 1}), ["'rotate'", "crop_size", "num_crops", *TYPES]),
    (changed(OURS, crop={"size": 3}), ["crop", "'size'", "prob", "strength", "min_scale"]),
    (changed(OURS, crop={"min_scale": 0}), ["crop", "min_scale", "[0.01, 1]"]),
    (changed(OURS, crop={"min_scale": 0.9, "max_scale": 0.5}), ["min_scale", "max_scale"]),
    (changed(OURS, grayscale={"prob": "often"}), ["grayscale", "prob", "a number", "'often'"]),
    (changed(OURS, grayscale=0.2), ["grayscale", "mapping", "{prob: 0.5}", "0.2"]),
    (changed(OURS, grayscale={"strength": 0.5}), ["grayscale", "'strength'", "'prob'"]),
    (changed(OURS, rotation={"strength": 2}), ["rotation", "strength", "[0, 1]"]),
    (changed(OURS, hue={}), ["color_jitter", "hue", "brightness, contrast, saturation, hue"]),
    (changed(OURS, crop_size=None), ["'crop_size'", "missing", "crop_size: 32"]),
    (changed(OURS, num_crops=None), ["'num_crops'", "missing", "num_crops: 2"]),
    (changed(OURS, crop_size=0), ["crop_size", "at least 1", "0"]),
    (changed(OURS, crop_size=32.0), ["crop_size", "whole number", "32.0"]),
    (changed(OURS, num_crops=0), ["num_crops", "at least 1", "0"]),
    (changed(OURS, num_crops=True), ["num_crops", "whole number", "True"]),
    (changed(OURS, mean=0.5), ["mean", "three numbers", "0.5"]),
    (changed(OURS, mean=[0.5, 0.5]), ["mean", "three numbers"]),
    (changed(OURS, std=[0.5, 0.5, 0]), ["std", "[1e-06, 1]"]),
    ({"crop_size": 32, "num_crops": 2}, ["no augmentation type", *TYPES]),
    ({"crop_size": 32, "num_crops": 2, "crop": {"prob": 0}}, ["no augmentation type", *TYPES]),
    (changed(OURS, grayscale={"enabled": True, "prob": 0.2}), ["grayscale", "'enabled'", "'rrc'"]),
    (changed(SOLO, crop={}), ["'crop'", "'rrc'", "color_jitter, grayscale, gaussian_blur"]),
    (changed(SOLO, rotation={}), ["'rotation'", "'rrc'", "crop: {min_scale: 0.2}"]),
    (changed(SOLO, rrc={"min_scale": 0.2}), ["rrc", "'min_scale'", "enabled, crop_min_scale"]),
    (changed(SOLO, rrc=True), ["rrc", "mapping", "True"]),
    (changed(SOLO, rrc={"enabled": "yes"}), ["rrc", "enabled", "true or false", "'yes'"]),
    (changed(SOLO, grayscale={"prob": 0.2, "strength": 1}), ["grayscale", "'strength'", "prob"]),
    (changed(SOLO, grayscale={"enabled": True}), ["grayscale", "'prob'", "prob: 0.5"]),
    (
        changed(SOLO, grayscale={"enabled": False, "prob": 0.2}),
        ["grayscale", "enabled: false", "prob 0.2", "prob: 0.0"],
    ),
    ("crop", ["a block", "mapping", "'crop'"]),
]


@pytest.mark.parametrize(("block", "named"), REFUSED_BLOCKS)
def test_refusals_name_the_block_the_key_and_the_mend(block, named):
    with pytest.raises(ConfigurationError) as refusal:
        parse_views([OURS, block])
    for word in ["augmentations[1]", *named]:
        assert word in str(refusal.value)


@pytest.mark.parametrize("blocks", [[], OURS, "crop", None])
def test_anything_but_a_list_of_blocks_is_refused(blocks):
    with pytest.raises(ConfigurationError, match="augmentations must be a list"):
        parse_views(blocks)


def test_a_type_given_twice_is_refused():
    with pytest.raises(ConfigurationError, match="crop is given twice"):
        Plan(32, (Augmentation("crop", 1), Augmentation("crop", 0.5)))


def test_a_view_spec_checks_its_number_of_crops():
    with pytest.raises(ConfigurationError, match="num_crops"):
        ViewSpec(Plan(32, (Augmentation("crop", 1),)), 0)
