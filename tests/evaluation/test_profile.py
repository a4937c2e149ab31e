"""The invariance profile of networks whose invariances are known."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from mast_plugin.errors import DataError
from mast_plugin.evaluation.protocols.profile import _measure, _Pair, full_plan, invariance_profile
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.plan import Plan

SIZE = 24


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Coloured images of one mean brightness that are darker on the left."""
    root, rng = tmp_path_factory.mktemp("profile"), np.random.default_rng(0)
    paths = []
    for number in range(120):
        colour = rng.uniform(0.6, 1.4, 3)
        slope = np.linspace(-1, 1, 30)[None, :, None] * rng.uniform(10, 40)
        pixels = 90 * colour / colour.mean() + slope + rng.normal(0, 10, (26, 30, 3))
        pixels += 90 - pixels.mean()
        paths.append(root / f"{number}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


class Summary(nn.Module):
    """Features given by a formula over images in [0, 1]."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula

    def forward(self, images):
        return self.formula(images)


def brightness(images):
    return images.mean((1, 2, 3))[:, None]


def halves(images):
    return torch.stack([half.mean((1, 2, 3)) for half in images.chunk(2, dim=3)], dim=1)


def luminance(images):
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return F.adaptive_avg_pool2d(grey, 3).flatten(1)


def colours(images):
    return F.adaptive_avg_pool2d(images, 3).flatten(1)


def plan_of(*augmentations):
    return Plan(SIZE, augmentations, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


BRIGHTNESS = Augmentation("brightness", 1.0, {"max_change": 0.3})
FLIP = Augmentation("horizontal_flip", 0.5)
GREY = Augmentation("grayscale", 0.2)
HUE = Augmentation("hue", 0.8, {"max_shift_turns": 0.5})


def profile(formula, files, *augmentations, **options):
    """Values by (space, type, metric)."""
    rows = invariance_profile(Summary(formula), files, plan_of(*augmentations), **options)
    assert {row.protocol for row in rows} == {"invariance"}
    return {(row.space, row.subject, row.metric): row.value for row in rows}


def test_mean_brightness_is_blind_to_a_flip_and_tells_brightness(files):
    found = profile(brightness, files, FLIP, BRIGHTNESS)
    assert found["backbone", "horizontal_flip", "invariance"] == pytest.approx(1)
    assert found["backbone", "horizontal_flip", "told_accuracy"] == pytest.approx(50, abs=10)
    assert found["backbone", "brightness", "told_r2"] > 0.95
    assert found["backbone", "brightness", "invariance"] < 0.2


def test_halves_tell_a_flip(files):
    found = profile(halves, files, FLIP)
    assert found["backbone", "horizontal_flip", "told_accuracy"] == 100
    assert found["backbone", "horizontal_flip", "invariance"] == pytest.approx(0, abs=0.02)


def test_luminance_is_blind_to_grayscale_and_colour_is_not(files):
    blind, seeing = (profile(formula, files, GREY) for formula in (luminance, colours))
    assert blind["backbone", "grayscale", "invariance"] > 0.98
    assert blind["backbone", "grayscale", "told_accuracy"] < 65
    assert seeing["backbone", "grayscale", "invariance"] < 0.9


def test_a_turned_hue_is_neither_ignored_nor_told(files):
    """The images' own colours, which are drawn at random, hide how far they were turned."""
    found = profile(colours, files, HUE)
    assert found["backbone", "hue", "invariance"] < 0.6
    assert found["backbone", "hue", "told_r2"] < 0.3


def test_similarity_and_invariance_agree_with_plain_loops(files):
    found = profile(colours, files[:10], FLIP)
    features = []
    for file in files[:10]:
        image = Image.open(file)
        width, height = image.size
        scaled = image.resize((round(SIZE * width / height - 0.5), SIZE), Image.Resampling.BICUBIC)
        left = round((scaled.width - SIZE) / 2)
        square = np.asarray(scaled.crop((left, 0, left + SIZE, SIZE)), dtype=np.float64) / 255
        features.append([grid(square), grid(square[:, ::-1])])
    mean = [sum(plain[d] for plain, _ in features) / 10 for d in range(27)]

    def cosine(first, second):
        a = [x - m for x, m in zip(first, mean, strict=True)]
        b = [x - m for x, m in zip(second, mean, strict=True)]
        product = sum(x * y for x, y in zip(a, b, strict=True))
        return product / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    same = [cosine(plain, flipped) for plain, flipped in features]
    different = [
        cosine(features[i][0], features[j][1]) for i in range(10) for j in range(10) if i != j
    ]
    similarity, base = sum(same) / len(same), sum(different) / len(different)
    assert found["backbone", "horizontal_flip", "similarity"] == pytest.approx(similarity, abs=1e-5)
    expected = (similarity - base) / (1 - base)
    assert found["backbone", "horizontal_flip", "invariance"] == pytest.approx(expected, abs=1e-5)


def grid(square):
    """Means of 3 x 3 cells, channel by channel."""
    cells = square.reshape(3, SIZE // 3, 3, SIZE // 3, 3).mean((1, 3))
    return cells.transpose(2, 0, 1).ravel().tolist()


def test_what_is_told_of_noise_is_nothing(files):
    """R^2 on images that the probe did not see: an overfitted probe would be far below zero."""

    def noise(images):
        generator = torch.Generator().manual_seed(int(1e6 * images.sum()))
        return torch.randn(len(images), 30, generator=generator)

    found = profile(noise, files, BRIGHTNESS, FLIP)
    assert -0.2 < found["backbone", "brightness", "told_r2"] < 0.1
    assert 30 < found["backbone", "horizontal_flip", "told_accuracy"] < 70
    assert abs(found["backbone", "brightness", "invariance"]) < 0.15


def test_a_probe_is_scored_on_images_that_it_was_not_fitted_to():
    """The features tell all of the half that a probe is fitted to, and nothing of the other."""
    rng, fitted = np.random.default_rng(1), np.zeros((80, 1), dtype=bool)
    fitted[np.random.default_rng(0).permutation(80)[:40]] = True
    drawn = [rng.uniform(-1, 1, (80, 1)) for _ in range(2)]
    noise = [rng.uniform(-1, 1, (80, 1)) for _ in range(2)]

    def measured(told, parameters):
        views = [np.where(fitted, t, n) for t, n in zip(told, noise, strict=True)]
        pair = _Pair(*map(torch.tensor, views), parameters)
        return _measure(pair, torch.zeros(80, 1), lambda features: features, 0)

    assert measured(drawn, tuple(drawn))["told_r2"] < 0
    assert 25 < measured((-1.0, 1.0), None)["told_accuracy"] < 75


def test_other_spaces_are_derived_from_the_same_features(files):
    def both(images):
        return torch.cat([brightness(images), halves(images)], dim=1)

    calls = []

    def counted(images):
        calls.append(len(images))
        return both(images)

    spaces = {"subspace a": lambda f: f[:, :1], "subspace b": lambda f: f[:, 1:]}
    found = profile(counted, files, FLIP, BRIGHTNESS, spaces=spaces)
    assert sum(calls) == 4 * len(files)  # plain, flipped, and two of brightness
    for name, formula in (("subspace a", brightness), ("subspace b", halves)):
        alone = profile(formula, files, FLIP, BRIGHTNESS)
        for (space, subject, metric), value in alone.items():
            assert space == "backbone"
            assert found[name, subject, metric] == pytest.approx(value, abs=1e-4)


def test_the_seed_decides_everything_and_nothing_else_is_touched(files):
    network, plan = Summary(colours).train(), plan_of(BRIGHTNESS, Augmentation("crop", 1.0))
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    runs = [
        invariance_profile(network, files, plan, num_images=30, seed=seed, batch_size=batch)
        for seed, batch in ((1, 7), (1, 30), (2, 30))
    ]
    values = [[row.value for row in rows] for rows in runs]
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert all(a != b for a, b in zip(values[1], values[2], strict=True))
    assert torch.equal(states[0], torch.get_rng_state()) and states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all() and network.training


def test_all_types_are_measured(files):
    plan = full_plan(SIZE)
    assert plan.types == tuple(name for name in TYPES if name != "color_jitter")
    rows = invariance_profile(Summary(colours), files, plan, num_images=16)
    switches = {"grayscale", "solarization", "equalization", "horizontal_flip"}
    assert len(plan.types) >= 15 and len(rows) == 3 * len(plan.types)
    for name in plan.types:
        metrics = [row.metric for row in rows if row.subject == name]
        told = "told_accuracy" if name in switches else "told_r2"
        assert metrics == ["similarity", "invariance", told]
    assert all(row.value <= 1 for row in rows if not row.metric.endswith("accuracy"))


def test_color_jitter_is_one_type_with_four_parameters(files):
    jitter = Augmentation("color_jitter", 1.0, {"saturation": 0.0, "hue": 0.0, "contrast": 0.0})
    found = profile(brightness, files, jitter)
    assert found["backbone", "color_jitter", "told_r2"] > 0.95  # of the one that varies


def test_what_cannot_vary_is_not_told(files):
    whole = {"min_scale": 1.0, "max_scale": 1.0, "min_ratio": 1.0, "max_ratio": 1.0}
    found = profile(colours, files, Augmentation("crop", 1.0, whole))
    assert found["backbone", "crop", "invariance"] == pytest.approx(1)
    assert ("backbone", "crop", "told_r2") not in found


def test_collapsed_features_are_no_error(files):
    found = profile(lambda images: torch.ones(len(images), 5), files, FLIP, BRIGHTNESS)
    assert found["backbone", "horizontal_flip", "invariance"] == 0
    assert found["backbone", "brightness", "told_r2"] == pytest.approx(0, abs=0.1)


def test_too_few_images_are_refused(files):
    with pytest.raises(DataError, match="at least 4 images, got 3"):
        profile(colours, files[:3], FLIP)


def test_a_diverged_network_is_refused(files):
    with pytest.raises(DataError, match="not finite"):
        profile(lambda images: torch.full((len(images), 2), math.nan), files, FLIP)
