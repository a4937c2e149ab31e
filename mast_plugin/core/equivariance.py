"""The equivariance term: predicting the augmentations' difference from outside of each mask.

N images (a pair of views each), D embedding dimensions, K augmentation types, P numbers of a
difference of augmentation parameters (:mod:`mast_plugin.views.difference`). Source: that predicting
how views differ keeps what invariance would lose is AugSelf's (Lee et al., NeurIPS 2021), there
from the backbone by a network of its own; predicting it linearly from what a mask leaves out is
this project's choice, see docs/method.md.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mast_plugin.core.uncertainty import mean_over_active

EquivarianceInput = Literal["embedding", "features"]

LENGTH_FLOOR = 1e-4  # of a squared length: the gradient stays finite where both views are alike
PREDICTOR_WIDTH = 512


def predicted_difference(
    z1: Tensor,
    z2: Tensor,
    outside: Tensor,
    difference_types: Tensor,
    predictor: Tensor,
    route: Tensor,
) -> Tensor:
    """Predict the difference linearly from that of the embeddings, outside of each type's mask.

    What enters for a type is brought to the mean squared length one. The term's curvature in the
    predictor is then at most twice the term's weight, whatever D, the masks' level and the
    embeddings' scale are, so that one learning rate fits every embedding.

    Args:
        z1: (N, D), embeddings of the first view; of the global batch.
        z2: (N, D), embeddings of the second view.
        outside: (K, D), in [0, 1]: how far a type's prediction may use a dimension: one minus its
            mask.
        difference_types: (P,), int64: which of the K types each number belongs to.
        predictor: (P, D), the linear predictor's weights.
        route: (N, K), bool: a type's length is measured on the pairs on which it is active.

    Returns:
        (N, P), at least float32; exchanging the views changes its sign.
    """
    dtype = torch.promote_types(z1.dtype, torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        delta, outside = z1.to(dtype) - z2.to(dtype), outside.to(dtype)
        squared = mean_over_active(delta.square() @ outside.square().T, route)
        predicted = delta @ (outside[difference_types] * predictor.to(dtype)).T
        return predicted / (squared + LENGTH_FLOOR).sqrt()[difference_types]


def equivariance_term(
    predicted: Tensor, difference: Tensor, difference_types: Tensor, route: Tensor
) -> Tensor:
    """Measure the squared error of what was predicted.

    Args:
        predicted: (N, P), from :func:`predicted_difference`.
        difference: (N, P), in units of its standard deviation.
        difference_types: (P,), int64.
        route: (N, K), bool: only pairs on which a number's type is active count.

    Returns:
        Scalar: mean over a number's pairs, then over a type's numbers, then over the types that
        have any. About 1 where nothing is predicted, 0 where everything is.
    """
    errors = mean_over_active((predicted - difference).square(), route[:, difference_types])
    kinds = torch.arange(route.shape[1], device=route.device)
    counts = (difference_types == kinds[:, None]).sum(dim=1)  # bincount would make a GPU wait
    share = 1 / (counts[difference_types] * (counts > 0).sum())
    return (errors * share).sum()


class DifferencePredictor(nn.Module):
    """Predicts how two views differ from the backbone's features of both: AugSelf's own form.

    A network of three layers for each type that has numbers, on the features of both views side by
    side. It sees both orders of the views, and half of what its two answers differ by is taken, so
    that exchanging the views changes the sign, as it does of what is predicted.

    Args:
        features_dim: F, width of the features.
        difference_types: Which type each of the P numbers of a difference belongs to, ascending,
            P >= 1.

    Source: AugSelf (Lee et al., NeurIPS 2021) has such a network for each type, of this depth and
    width, with batch norm.
    Differs: AugSelf learns both orders as pairs of their own, limits the answer by tanh to
    differences in [-1, 1], and predicts flips; here the differences are in units of their standard
    deviation, and a flip has no number.
    """

    def __init__(self, features_dim: int, difference_types: Sequence[int]) -> None:
        super().__init__()
        counts = [list(difference_types).count(kind) for kind in sorted(set(difference_types))]
        self.networks = nn.ModuleList(_predictor(2 * features_dim, count) for count in counts)

    def forward(self, features1: Tensor, features2: Tensor) -> Tensor:
        """Predict the difference.

        Args:
            features1: (N, F), of the first view; the gradient reaches the backbone.
            features2: (N, F), of the second view.

        Returns:
            (N, P), at least float32.
        """
        forth, back = ((features1, features2), (features2, features1))
        pairs = torch.cat([torch.cat(forth, dim=1), torch.cat(back, dim=1)])
        found = torch.cat([network(pairs) for network in self.networks], dim=1)
        first, second = found.to(torch.promote_types(found.dtype, torch.float32)).chunk(2)
        return (first - second) / 2


def _predictor(input_dim: int, output_dim: int) -> nn.Sequential:
    # No biases: batch norm takes them away, and the last would cancel between both orders.
    return nn.Sequential(
        nn.Linear(input_dim, PREDICTOR_WIDTH, bias=False),
        nn.BatchNorm1d(PREDICTOR_WIDTH),
        nn.ReLU(),
        nn.Linear(PREDICTOR_WIDTH, PREDICTOR_WIDTH, bias=False),
        nn.BatchNorm1d(PREDICTOR_WIDTH),
        nn.ReLU(),
        nn.Linear(PREDICTOR_WIDTH, output_dim, bias=False),
    )
