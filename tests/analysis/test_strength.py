import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.stats import spearmanr

from mast_plugin.analysis.correlation import rank_correlation
from mast_plugin.analysis.pair import make_pairs, parameter_distance, strengths
from mast_plugin.analysis.strength import PairNetwork, analyse_uncertainty
from mast_plugin.core.uncertainty import pair_log_variance
from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.drawing import draw
from mast_plugin.views.plan import Plan
from mast_plugin.views.torchvision import CentredView

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def noisy_images(count: int, size: int = 20) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)
    ]


def plan_of(*names: str) -> Plan:
    return Plan(16, tuple(Augmentation(name, 0.5) for name in names), **PLAIN)


def small_network(num_types: int, num_dims: int = 6) -> PairNetwork:
    generator = torch.Generator().manual_seed(1)
    project = torch.randn(12, num_dims, generator=generator)

    def backbone(views: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(views, 2).flatten(1)

    def log_variance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        distance = (first - second).abs().mean(dim=1, keepdim=True)
        return (distance + 1e-3).log() * torch.arange(1, num_types + 1)

    masks = torch.rand(num_types, num_dims, generator=generator) * 0.9 + 0.1
    return PairNetwork(backbone, lambda features: features @ project, log_variance, masks)


def test_rank_correlation_is_scipys_also_with_ties():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 5, (30, 4)).astype(float)
    y = np.round(x + rng.normal(size=x.shape), 1)
    found = rank_correlation(x, y)
    assert found.value == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic, abs=1e-12)


@pytest.mark.slow
def test_interval_is_that_of_resampled_images():
    rng = np.random.default_rng(5)
    image_effect = rng.normal(size=(25, 1))  # makes an image's values alike: they go together
    x = image_effect + 0.2 * rng.normal(size=(25, 3))
    y = image_effect + rng.normal(size=(25, 3))
    draws = [rng.integers(0, 25, 25) for _ in range(1000)]
    values = [spearmanr(x[rows].ravel(), y[rows].ravel()).statistic for rows in draws]
    found = rank_correlation(x, y, resamples=1000)
    assert (found.low, found.high) == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.04)
    assert found.low < found.value < found.high


def test_rank_correlation_of_a_constant_is_none():
    assert rank_correlation(np.ones((4, 2)), np.arange(8.0).reshape(4, 2)) is None


def test_strengths_are_steps_or_on_and_off():
    assert strengths(Augmentation("crop", 1.0), 3) == (0.0, 0.5, 1.0)
    assert strengths(Augmentation("grayscale", 0.2), 3) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["crop", "hue", "erasing", "solarization", "horizontal_flip"])
def test_without_strength_both_views_are_the_centred_image(name):
    images = noisy_images(2)
    pairs = make_pairs(images, plan_of(name), Augmentation(name, 0.5), 0.0, seed=0)
    expected = torch.stack([CentredView(16, **PLAIN)(image) for image in images])
    assert torch.equal(pairs.views[0], expected) and torch.equal(pairs.views[1], expected)
    assert pairs.distance.tolist() == [0, 0]


def test_a_type_that_draws_nothing_changes_the_second_view_alone():
    images = noisy_images(2, 16)
    plan = plan_of("horizontal_flip")
    pairs = make_pairs(images, plan, plan.augmentations[0], 1.0, seed=0)
    view = CentredView(16, **PLAIN)
    assert torch.equal(pairs.views[0], torch.stack([view(image) for image in images]))
    mirrored = torch.stack([view(ImageOps.mirror(image)) for image in images])
    assert torch.equal(pairs.views[1], mirrored)
    assert pairs.distance.tolist() == [1, 1]


def test_a_box_of_fixed_size_is_still_placed_in_both_views():
    size = {"min_scale": 0.25, "max_scale": 0.25, "min_ratio": 1.0, "max_ratio": 1.0}
    plan = Plan(16, (Augmentation("crop", 1.0, size),), **PLAIN)
    images = noisy_images(6)
    pairs = make_pairs(images, plan, plan.augmentations[0], 1.0, seed=0)
    plain = CentredView(16, **PLAIN)
    assert not any(
        torch.equal(view, plain(image)) for image, view in zip(images, pairs.views[0], strict=True)
    )
    assert 0 < pairs.distance.mean() < 1


def test_distance_of_boxes_counts_pixels():
    crop, rng = Augmentation("crop", 1.0), random.Random(0)
    for _ in range(20):
        boxes = [draw(crop, (12, 15), rng) for _ in range(2)]
        covered = [
            {
                (row, column)
                for row in range(int(b["top_px"]), int(b["top_px"] + b["height_px"]))
                for column in range(int(b["left_px"]), int(b["left_px"] + b["width_px"]))
            }
            for b in boxes
        ]
        expected = 1 - len(covered[0] & covered[1]) / len(covered[0] | covered[1])
        assert parameter_distance(crop, *boxes) == pytest.approx(expected)


def test_distance_of_numbers_is_a_share_of_the_range():
    shear = Augmentation("shear", 1.0, {"max_angle_deg": 10})
    first = {"x_angle_deg": -10.0, "y_angle_deg": 4.0}
    second = {"x_angle_deg": 10.0, "y_angle_deg": 4.0}
    assert parameter_distance(shear, first, second) == pytest.approx(0.5**0.5)
    assert parameter_distance(shear, first, first) == 0


@pytest.mark.parametrize(
    ("largest", "turns", "expected"),
    [
        (0.5, (0.5, -0.5), 0),
        (0.5, (0.25, -0.25), 1),
        (0.4, (0.4, -0.4), 0.4),
        (0.1, (0.1, -0.1), 1),
    ],
)
def test_distance_of_hues_is_the_shorter_way_round(largest, turns, expected):
    hue = Augmentation("hue", 1.0, {"max_shift_turns": largest})
    first, second = ({"hue_turns": each} for each in turns)
    assert parameter_distance(hue, first, second) == pytest.approx(expected)


def test_means_are_those_of_the_pairs_measured_one_by_one():
    plan, images = plan_of("crop", "hue"), noisy_images(5)
    network = small_network(2)
    analysis = analyse_uncertainty(network, images, plan, steps=3, num_extreme=2, seed=7)
    for k, found in enumerate(analysis.types):
        assert found.type == plan.types[k]
        weights = network.masks[k] ** 2 / (network.masks[k] ** 2).sum()
        for level, strength in enumerate(found.strengths):
            log_variances, errors = [], []
            for index, image in enumerate(images):
                pair = make_pairs(
                    [image], plan, plan.augmentations[k], strength, seed=7, first_index=index
                )
                feats = [network.backbone(view) for view in pair.views]
                log_variances.append(float(network.log_variance(*feats)[0, k]))
                z1, z2 = (network.embed(each)[0] for each in feats)
                errors.append(
                    sum(float(w * (a - b) ** 2) for w, a, b in zip(weights, z1, z2, strict=True))
                )
            assert found.log_variance[level] == pytest.approx(np.mean(log_variances), abs=1e-5)
            assert found.error[level] == pytest.approx(np.mean(errors), abs=1e-6)


def test_uncertainty_that_follows_the_parameters_correlates_fully():
    plan = Plan(16, (Augmentation("brightness", 0.8, {"max_change": 0.4}),), **PLAIN)
    grey = [Image.new("RGB", (16, 16), (120, 120, 120)) for _ in range(40)]
    analysis = analyse_uncertainty(small_network(1), grey, plan, num_extreme=3)
    value, low, high = analysis.types[0].correlation
    assert value > 0.98 and low > 0.96 and high <= 1


def test_ends_are_the_smallest_and_largest_and_can_be_shown():
    plan, images = plan_of("crop", "hue"), noisy_images(9)
    analysis = analyse_uncertainty(small_network(2), images, plan, num_extreme=9)
    most, least = analysis.most_certain, analysis.least_certain
    assert list(most.log_variance) == sorted(most.log_variance)
    assert most.indices == least.indices[::-1] and sorted(most.indices) == list(range(9))
    assert most.views.shape == (9, 2, 3, 16, 16)
    assert most.views.min() >= 0 and most.views.max() <= 1


def test_the_extreme_pairs_are_shown_with_their_own_variance():
    plan, images = plan_of("crop", "hue"), noisy_images(9)
    network = small_network(2)
    analysis = analyse_uncertainty(network, images, plan, num_extreme=3)
    for pairs in (analysis.most_certain, analysis.least_certain):
        features = [network.backbone(view) for view in pairs.views.unbind(1)]
        predicted = network.log_variance(*features)
        expected = pair_log_variance(predicted, torch.ones(3, 2, dtype=torch.bool))
        torch.testing.assert_close(torch.tensor(pairs.log_variance), expected)
    assert analysis.most_certain.log_variance[-1] < analysis.least_certain.log_variance[-1]


def test_same_seed_same_result_whatever_the_batches_and_the_global_generator():
    plan, images = plan_of("crop", "hue", "grayscale"), noisy_images(7)
    results = []
    for batch_size in (256, 3):
        torch.manual_seed(batch_size)
        state = torch.get_rng_state()
        results.append(
            analyse_uncertainty(small_network(3), images, plan, steps=2, batch_size=batch_size)
        )
        assert torch.equal(torch.get_rng_state(), state)
    first, second = results
    assert [t.error for t in first.types] == [pytest.approx(t.error) for t in second.types]
    assert first.most_certain.indices == second.most_certain.indices
    assert torch.equal(first.most_certain.views, second.most_certain.views)


def test_what_does_not_fit_is_refused():
    plan, images = plan_of("crop", "hue"), noisy_images(3)
    with pytest.raises(ConfigurationError, match="3 masks and the plan 2"):
        analyse_uncertainty(small_network(3), images, plan)
    with pytest.raises(ConfigurationError, match="at least 2 images"):
        analyse_uncertainty(small_network(2), images[:1], plan)
    certain = replace(small_network(2), log_variance=lambda first, second: None)
    with pytest.raises(ConfigurationError, match="no uncertainty"):
        analyse_uncertainty(certain, images, plan)
