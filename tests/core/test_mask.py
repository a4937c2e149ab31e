"""Blocks of dimensions that the masks may start with."""

import pytest
import torch

from mast_plugin.core.loss import pair_weights
from mast_plugin.core.mask import BLOCK_LEVEL, block_masks
from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError


def oracle(num_types, num_dims, block, share):
    """Level inside, and outside the one that makes the mean the share."""
    outside = (share * num_dims - block * BLOCK_LEVEL) / (num_dims - block)
    return [
        [BLOCK_LEVEL if k * block <= d < (k + 1) * block else outside for d in range(num_dims)]
        for k in range(num_types)
    ]


@pytest.mark.parametrize(
    ("num_types", "num_dims", "share", "block"),
    [(5, 512, 0.88, 61), (5, 50, 0.9, 5), (15, 512, 0.95, 25), (1, 2, 0.5, 1), (3, 9, 2 / 3, 3)],
)
def test_every_type_leaves_a_block_of_its_own(num_types, num_dims, share, block):
    masks = block_masks(num_types, num_dims, share)
    expected = torch.tensor(oracle(num_types, num_dims, block, share), dtype=torch.float64)
    torch.testing.assert_close(masks, expected)
    torch.testing.assert_close(masks.mean(1), torch.full((num_types,), share, dtype=torch.float64))
    assert ((masks > 0) & (masks < 1)).all()
    assert ((masks == BLOCK_LEVEL).sum(0) <= 1).all()


@pytest.mark.parametrize(("num_types", "num_dims", "share"), [(15, 512, 0.9), (5, 8, 0.9)])
def test_blocks_that_do_not_fit_are_refused(num_types, num_dims, share):
    with pytest.raises(ConfigurationError, match=r"choose subspace_share in \[0\.\d+, 0\.\d+\]"):
        block_masks(num_types, num_dims, share)


def test_a_block_is_asked_for_all_but_its_type_where_that_is_left_out():
    """What leave-one-out routes are for: with all types on, no block is asked for anything."""
    masks = block_masks(4, 40, 0.9)
    everything, without_first = torch.ones(1, 4).bool(), torch.tensor([[False, True, True, True]])
    block = slice(0, 4)
    assert pair_weights(masks, everything)[0, block].sum() < 0.001
    shared = pair_weights(masks, without_first)[0]
    torch.testing.assert_close(shared[block.stop :].amax(), shared[0], rtol=0.05, atol=0)
    routes = RoutePolicy(0.3, 0.0, "leave_one_out").draw(2000, 4)
    asked = pair_weights(masks, routes)[:, block].sum(1) > 0.05
    assert 0.14 < asked.float().mean() < 0.21  # .7 / 4
