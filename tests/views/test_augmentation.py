import pickle

import pytest

from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation import JITTER_PARTS, TYPES, Augmentation, describe

FIFTEEN = {
    "crop", "horizontal_flip", "brightness", "contrast", "saturation", "hue", "grayscale",
    "gaussian_blur", "solarization", "rotation", "shear", "translation", "sharpness",
    "equalization", "erasing",
}  # fmt: skip
SCALABLE = [name for name, kind in TYPES.items() if kind.has_strength]


def test_the_fifteen_types_and_color_jitter_exist():
    assert set(TYPES) >= FIFTEEN | {"color_jitter"}


def test_types_stand_in_the_hosts_order_with_crop_first_and_erasing_last():
    host = ["color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization"]
    order = list(TYPES)
    assert [name for name in order if name in host] == host
    assert order[0] == "crop"
    assert order[-1] == "erasing"
    assert order.index("equalization") < order.index("horizontal_flip")


@pytest.mark.parametrize("filled", ["rotation", "shear", "translation", "erasing"])
def test_filled_pixels_come_after_everything_that_could_measure_or_tint_them(filled):
    order = list(TYPES)
    for measuring in (*JITTER_PARTS, "color_jitter", "solarization", "equalization"):
        assert order.index(measuring) < order.index(filled)


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_defaults_and_identities_are_themselves_allowed(kind):
    assert 0 < kind.prob <= 1
    for parameter in kind.parameters:
        assert parameter.low <= parameter.default <= parameter.high
        if parameter.identity is not None:
            assert parameter.low <= parameter.identity <= parameter.high


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_settings_left_out_take_their_defaults(kind):
    defaults = {parameter.name: parameter.default for parameter in kind.parameters}
    assert Augmentation(kind.name, 0.5).settings == defaults


def test_full_strength_changes_nothing():
    for name in SCALABLE:
        assert Augmentation(name, 0.5).scaled(1) == Augmentation(name, 0.5)


def test_no_strength_is_the_identity():
    for name in SCALABLE:
        settings = Augmentation(name, 0.5).scaled(0).settings
        for parameter in TYPES[name].parameters:
            if parameter.identity is not None:
                assert settings[parameter.name] == parameter.identity


def test_half_strength_lies_half_way_and_leaves_the_probability():
    crop = Augmentation("crop", 0.7, {"min_scale": 0.2, "max_scale": 0.6}).scaled(0.5)
    assert crop.prob == 0.7
    assert crop.settings["min_scale"] == pytest.approx(0.6)
    assert crop.settings["max_scale"] == pytest.approx(0.8)


def test_equal_augmentations_are_equal_after_pickling():
    augmentation = Augmentation("rotation", 0.5, {"max_angle_deg": 30})
    assert pickle.loads(pickle.dumps(augmentation)) == augmentation
    assert augmentation != Augmentation("rotation", 0.5, {"max_angle_deg": 31})


def test_an_augmentation_prints_as_its_configuration():
    blur = Augmentation("gaussian_blur", 0.5)
    assert str(blur) == "gaussian_blur(prob=0.5, min_sigma_px=0.1, max_sigma_px=2)"


REFUSALS = [
    ("rotate", 0.5, {}, ["'rotate'", *TYPES]),
    ("rotation", 0.5, {"degrees": 3}, ["rotation", "'degrees'", "max_angle_deg", "strength"]),
    ("rotation", 0.5, {"max_angle_deg": 61}, ["rotation", "max_angle_deg", "[0, 60]", "61"]),
    ("rotation", 0.5, {"max_angle_deg": -1}, ["rotation", "max_angle_deg", "[0, 60]", "-1"]),
    ("rotation", 0.5, {"max_angle_deg": float("nan")}, ["max_angle_deg", "[0, 60]", "nan"]),
    ("rotation", 0.5, {"max_angle_deg": "15"}, ["max_angle_deg", "a number", "'15'"]),
    ("rotation", 0.5, {"max_angle_deg": True}, ["max_angle_deg", "a number", "True"]),
    ("rotation", 1.5, {}, ["rotation", "prob", "[0, 1]", "1.5"]),
    ("grayscale", None, {}, ["grayscale", "prob", "a number", "None"]),
    ("crop", 1, {"min_scale": 0.8, "max_scale": 0.5}, ["crop", "min_scale", "max_scale", "lower"]),
    ("erasing", 1, {"min_ratio": 4}, ["erasing", "min_ratio", "max_ratio", "3.3"]),
]


@pytest.mark.parametrize(("name", "prob", "settings", "named"), REFUSALS)
def test_refusals_name_the_key_and_the_alternatives(name, prob, settings, named):
    with pytest.raises(ConfigurationError) as refusal:
        Augmentation(name, prob, settings)
    for word in named:
        assert word in str(refusal.value)


@pytest.mark.parametrize("strength", [-0.1, 1.1, "1"])
def test_strength_outside_its_range_is_refused(strength):
    with pytest.raises(ConfigurationError, match=r"rotation's strength .*\[0, 1\]"):
        Augmentation("rotation", 0.5).scaled(strength)


@pytest.mark.parametrize("name", sorted(set(TYPES) - set(SCALABLE)))
def test_types_that_are_on_or_off_refuse_a_strength(name):
    with pytest.raises(ConfigurationError, match=f"{name} is on or off.*lower its 'prob'"):
        Augmentation(name, 0.5).scaled(0.5)


def test_the_documented_table_lists_every_type_and_parameter():
    table = describe()
    for name, kind in TYPES.items():
        assert f"| `{name}` | `prob` |" in table
        for p in kind.parameters:
            assert f"| `{p.name}` | {p.unit} | [{p.low:g}, {p.high:g}] |" in table
