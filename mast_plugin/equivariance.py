"""What the dimensions outside of each mask must tell: how the two views differ in that type.

N images (a pair of views each), D embedding dimensions, K augmentation types, P numbers of a change
(:mod:`mast_plugin.change`). Source: that predicting how views differ keeps what invariance would
lose is AugSelf's (Lee et al., NeurIPS 2021), there from the backbone by a network of its own;
reading it off what a mask leaves out, linearly, is this project's choice, see docs/method.md.
"""

import torch
from torch import Tensor

from mast_plugin.uncertainty import mean_over_active


def told_change(
    z1: Tensor, z2: Tensor, masks: Tensor, change_types: Tensor, reader: Tensor
) -> Tensor:
    """Read the change off the difference of the embeddings, outside of each type's mask.

    Args:
        z1: (N, D), embeddings of the first view.
        z2: (N, D), embeddings of the second view.
        masks: (K, D), in [0, 1].
        change_types: (P,), int64: which of the K types each number belongs to.
        reader: (P, D), weights.

    Returns:
        (N, P), at least float32; exchanging the views changes its sign.
    """
    dtype = torch.promote_types(z1.dtype, torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        difference = z1.to(dtype) - z2.to(dtype)
        outside = (1 - masks.to(dtype))[change_types] * reader.to(dtype)
        return difference @ outside.T


def equivariance_term(told: Tensor, change: Tensor, change_types: Tensor, route: Tensor) -> Tensor:
    """Measure the squared error of what was told.

    Args:
        told: (N, P), from :func:`told_change`.
        change: (N, P), in units of its standard deviation.
        change_types: (P,), int64.
        route: (N, K), bool: only pairs on which a number's type is active count.

    Returns:
        Scalar: mean over a number's pairs, then over a type's numbers, then over the types that
        have any. About 1 where nothing is told, 0 where everything is.
    """
    errors = mean_over_active((told - change).square(), route[:, change_types])
    counts = torch.bincount(change_types, minlength=route.shape[1])
    share = 1 / (counts[change_types] * (counts > 0).sum())
    return (errors * share).sum()
