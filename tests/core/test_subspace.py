"""Descriptions of a mask matrix, against masks whose answer is plain."""

import torch

from mast_plugin.core.subspace import effective_dimension, overlap, size, subspace_weights

HALVES = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])


def test_size_is_the_mean_mask():
    torch.testing.assert_close(size(HALVES), torch.tensor([0.5, 0.5, 1.0]))


def test_weights_are_normalised_squares():
    weights = subspace_weights(torch.tensor([[1.0, 0.5], [0.2, 0.2]]))
    torch.testing.assert_close(weights, torch.tensor([[0.8, 0.2], [0.5, 0.5]]))


def test_effective_dimension_counts_the_dimensions_in_use():
    torch.testing.assert_close(effective_dimension(HALVES), torch.tensor([2.0, 2.0, 4.0]))


def test_effective_dimension_does_not_depend_on_the_size():
    torch.testing.assert_close(effective_dimension(0.1 * HALVES), effective_dimension(HALVES))


def test_overlap_is_the_shared_weight():
    expected = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    torch.testing.assert_close(overlap(HALVES), expected)


def test_overlap_is_symmetric_and_in_its_range():
    torch.manual_seed(0)
    shared = overlap(torch.rand(5, 20))
    torch.testing.assert_close(shared, shared.T)
    torch.testing.assert_close(shared.diagonal(), torch.ones(5))
    assert ((shared > 0) & (shared <= 1 + 1e-6)).all()


def test_descriptions_hold_no_graph():
    masks = HALVES.clone().requires_grad_()
    for describe in (size, effective_dimension, overlap):
        assert not describe(masks).requires_grad
