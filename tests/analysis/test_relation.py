import math

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import is_valid_linkage, linkage
from scipy.spatial.distance import pdist

from mast_plugin.analysis.relation import relate
from mast_plugin.errors import ConfigurationError


def names(count: int) -> list[str]:
    return [f"type {k}" for k in range(count)]


def random_masks(num_types: int = 5, num_dims: int = 23) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.sigmoid(2 * torch.randn(num_types, num_dims, generator=generator))


def looped_weights(masks: torch.Tensor) -> list[list[float]]:
    rows = [[float(m) ** 2 for m in row] for row in masks.double()]
    return [[m / math.fsum(row) for m in row] for row in rows]


def test_overlap_is_the_weight_on_the_same_dimensions():
    masks = random_masks()
    weights = looped_weights(masks)
    found = relate(masks, names(5)).overlap
    for k in range(5):
        for other in range(5):
            pairs = zip(weights[k], weights[other], strict=True)
            shared = math.fsum(min(pair) for pair in pairs)
            assert found[k, other] == pytest.approx(shared, abs=1e-12)


@pytest.mark.parametrize("relative_weight", [0.25, 0.5, 1.0])
def test_parts_count_dimensions_by_who_owns_them(relative_weight):
    masks = random_masks()
    weights = looped_weights(masks)
    parts = relate(masks, names(5), relative_weight=relative_weight).parts
    counted = {name: [0] * 5 for name in ("unique", "shared", "common", "freed", "outside")}
    for d in range(23):
        owners = [k for k in range(5) if weights[k][d] * 23 >= relative_weight]
        for k in range(5):
            if k in owners:
                name = {1: "unique", 5: "common"}.get(len(owners), "shared")
            else:
                name = "freed" if len(owners) == 4 else "outside"
            counted[name][k] += 1
    assert {name: values.tolist() for name, values in parts.items()} == counted
    assert np.all(sum(parts.values()) == 23)


def test_known_masks_have_known_parts():
    masks = torch.tensor([[1.0, 1.0, 1.0, 1e-3], [1.0, 1.0, 1e-3, 1.0], [1.0, 1e-3, 1e-3, 1e-3]])
    parts = relate(masks, names(3)).parts
    assert parts["common"].tolist() == [1, 1, 1]
    assert parts["unique"].tolist() == [1, 1, 0]
    assert parts["shared"].tolist() == [1, 1, 0]
    assert parts["freed"].tolist() == [0, 0, 1]
    assert parts["outside"].tolist() == [1, 1, 2]


def test_tree_is_scipys_own_over_correlation_distance():
    masks = random_masks()
    expected = linkage(pdist(masks.double().numpy(), "correlation"), "average")
    np.testing.assert_allclose(relate(masks, names(5)).linkage, expected, atol=1e-9)


def test_order_keeps_alike_types_together():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(2, 40, generator=generator)
    logits = base[[0, 1, 0, 1, 0, 1]] + 0.1 * torch.randn(6, 40, generator=generator)
    relation = relate(torch.sigmoid(logits), names(6))
    groups = [k % 2 for k in relation.order]
    assert sorted(relation.order) == list(range(6))
    assert groups in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
    assert sorted(relation.dimension_order) == list(range(40))


def test_one_type_owns_what_it_has_and_makes_no_tree():
    relation = relate(torch.tensor([[1.0, 1.0, 0.01]]), ["crop"])
    assert relation.linkage is None and relation.order == (0,)
    assert relation.parts["unique"].tolist() == [2]
    assert relation.parts["freed"].tolist() == [1]


def test_masks_of_ones_are_all_the_same():
    relation = relate(torch.ones(3, 7), names(3))
    assert relation.parts["common"].tolist() == [7, 7, 7]
    np.testing.assert_allclose(relation.correlation, 1.0)
    assert relation.linkage[-1, 2] == 0
    assert relation.dimension_order == tuple(range(7))


def test_a_constant_mask_is_unrelated_to_the_others():
    masks = torch.cat([random_masks(2), torch.full((1, 23), 0.3)])
    relation = relate(masks, names(3))
    assert is_valid_linkage(relation.linkage)
    assert relation.correlation[2].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("masks", "threshold", "word"),
    [(torch.ones(2, 3), 0.5, "row"), (torch.ones(3), 0.5, "row"), (torch.ones(3, 2), 0.0, "0, 1")],
)
def test_what_does_not_fit_is_refused(masks, threshold, word):
    with pytest.raises(ConfigurationError, match=word):
        relate(masks, names(3), relative_weight=threshold)
