"""What the masks have learned: how large each subspace is, and how subspaces relate.

Descriptions of a mask matrix (K, D), K augmentation types and D embedding dimensions, for logs and
analyses: all are detached. Source: that subspaces share features and tell how augmentations relate
is the paper's (arXiv 2303.03679); these measures are this project's choice.
"""

import torch
from torch import Tensor

from mast_plugin.core.loss import pair_weights


def subspace_weights(masks: Tensor) -> Tensor:
    """Weigh the dimensions as for a pair on which one type alone is active, m^2 / sum m^2.

    Args:
        masks: (K, D), in (0, 1].

    Returns:
        (K, D), non-negative, each row sums to 1.
    """
    one_type_each = torch.eye(len(masks), dtype=torch.bool, device=masks.device)
    return pair_weights(masks.detach(), one_type_each)


def size(masks: Tensor) -> Tensor:
    """Mean mask of each type.

    Args:
        masks: (K, D), in (0, 1].

    Returns:
        (K,), in (0, 1]: the type's share of the dimensions, which the capacity term holds.
    """
    return masks.detach().mean(dim=1)


def effective_dimension(masks: Tensor) -> Tensor:
    """Participation ratio of each type's weights, 1 / sum w^2.

    Args:
        masks: (K, D), in (0, 1].

    Returns:
        (K,), in dimensions, from 1 (one dimension holds all the weight) to D (all weigh the same).
    """
    return 1 / subspace_weights(masks).square().sum(dim=1)


def overlap(masks: Tensor) -> Tensor:
    """Weight that two types put on the same dimensions, the sum of min(w_k, w_l).

    Args:
        masks: (K, D), in (0, 1].

    Returns:
        (K, K), symmetric, in [0, 1]: 0 for disjoint subspaces, 1 for the same, as on the diagonal.
    """
    weights = subspace_weights(masks)
    return torch.stack([torch.minimum(weights, row).sum(dim=1) for row in weights])
