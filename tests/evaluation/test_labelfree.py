import math
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from mast_plugin.errors import DataError
from mast_plugin.evaluation.protocols import labelfree
from mast_plugin.evaluation.protocols.labelfree import (
    alignment,
    feature_std,
    label_free_measurements,
    rankme,
    uniformity,
)


def features(count=200, size=16, spread=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator) * torch.logspace(0, -spread, size) + 0.1


def direct_rank(embeddings, epsilon=1e-7):
    singular = torch.linalg.svdvals(embeddings.double())
    share = singular / singular.sum() + epsilon
    return math.exp(-(share * share.log()).sum().item())


@pytest.mark.parametrize(("count", "size"), [(200, 16), (16, 200), (3000, 40)])
def test_the_rank_agrees_with_a_direct_decomposition(count, size):
    embeddings = features(count, size)
    assert rankme(embeddings) == pytest.approx(direct_rank(embeddings), rel=1e-6)
    assert 1.5 < rankme(embeddings) < 0.95 * min(count, size)


def test_a_low_rank_is_not_drowned_in_rounding():
    embeddings = features(500, 3, spread=0) @ features(3, 64, spread=0, seed=1)
    assert rankme(embeddings) == pytest.approx(direct_rank(embeddings), rel=1e-3)
    assert rankme(embeddings) < 3.01


def test_the_ends_of_the_rank():
    assert rankme(torch.eye(32)) == pytest.approx(32, rel=1e-4)
    assert rankme(torch.ones(50, 32)) == pytest.approx(1, rel=1e-4)
    assert rankme(torch.zeros(50, 32)) == 0


def test_the_rank_of_many_is_that_of_a_seeded_subset():
    embeddings = features()
    subset = [rankme(embeddings, limit=20, seed=seed) for seed in (0, 0, 1)]
    assert subset[0] == subset[1] != subset[2]
    assert rankme(embeddings, limit=200) == rankme(embeddings)


def test_alignment_is_the_mean_squared_distance():
    first, second = features(seed=1), features(seed=2)
    expected = sum(
        ((x / x.norm() - y / y.norm()) ** 2).sum().item()
        for x, y in zip(first, second, strict=True)
    )
    assert alignment(first, second) == pytest.approx(expected / 200, rel=1e-5)


def test_the_ends_of_alignment():
    assert alignment(features(), 3 * features()) == pytest.approx(0, abs=1e-6)
    assert alignment(features(), -features()) == pytest.approx(4, rel=1e-6)
    assert alignment(torch.eye(4), torch.eye(4).roll(1, 0)) == 2


@pytest.mark.parametrize("temperature", [2.0, 0.5])
def test_uniformity_is_over_all_distinct_pairs(temperature):
    points = F.normalize(features().double())
    expected = torch.pdist(points).square().mul(-temperature).exp().mean().log().item()
    assert uniformity(features(), temperature=temperature) == pytest.approx(expected, rel=1e-5)
    with patch.object(labelfree, "_CHUNK", 7):
        found = uniformity(features(), temperature=temperature)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_ends_of_uniformity():
    assert uniformity(torch.ones(20, 8)) == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.zeros(20, 8)) == 0
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    assert uniformity(features(1000, 512, spread=0)) == pytest.approx(-4, abs=0.1)
    assert math.isfinite(uniformity(torch.tensor([[1.0, 0], [-1, 0]]), temperature=100))


def test_uniformity_of_many_is_that_of_a_seeded_subset():
    subset = [uniformity(features(), limit=20, seed=seed) for seed in (0, 0, 1)]
    assert subset[0] == subset[1] != subset[2]


def test_feature_std_is_relative_to_an_even_spread():
    points = F.normalize(features().double())
    expected = points.std(0, correction=0).mean().item() * 4
    assert feature_std(features()) == pytest.approx(expected, rel=1e-5)
    assert 0.05 < expected < 0.95


def test_the_ends_of_feature_std():
    centred = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert feature_std(centred) == pytest.approx(1, abs=0.01)
    assert feature_std(torch.cat([torch.eye(8), -torch.eye(8)])) == pytest.approx(1, rel=1e-6)
    assert feature_std(torch.ones(20, 8) * torch.rand(20, 1)) == pytest.approx(0, abs=1e-6)


def test_rows_are_the_measures():
    views = features(50, seed=1), features(50, seed=2)
    rows = label_free_measurements("backbone", features(), views)
    assert {row.metric: row.value for row in rows} == {
        "rankme": rankme(features()),
        "uniformity": uniformity(features()),
        "feature_std": feature_std(features()),
        "alignment": alignment(*views),
    }
    assert {(row.space, row.protocol, row.subject) for row in rows} == {
        ("backbone", "label-free", "")
    }
    alone = label_free_measurements("backbone", features())
    assert [row.metric for row in alone] == ["rankme", "uniformity", "feature_std"]


def test_features_that_are_not_finite_are_refused():
    broken = features()
    broken[3, 2] = float("inf")
    for measure in (rankme, uniformity, feature_std, lambda f: alignment(features(), f)):
        with pytest.raises(DataError, match="not finite"):
            measure(broken)
        with pytest.raises(DataError, match="cannot be measured"):
            measure(features()[:0])


def test_views_of_other_images_are_refused():
    with pytest.raises(DataError, match="a row of both views"):
        alignment(features(20), features(21))


def test_one_image_has_no_pairs():
    with pytest.raises(DataError, match="two or more"):
        uniformity(features(1))
