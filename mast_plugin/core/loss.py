"""MAST's loss: VICReg, measured per pair in the subspace that the pair's augmentations share.

Symbols, throughout: N images (a pair of views each), D embedding dimensions, K augmentation types;
z and z' (N, D) embed the two views, m (K, D) are the masks, r (N, K) is the route, u (N, K) are the
log-variances, w (N, D) a pair's weights over the dimensions, e (N,) its error; c (N, P) says how
the views differ in what was done to them.

Source: masks over one embedding, uncertainty weights and VICReg as the base are the paper's (MAST,
ICLR 2023, arXiv 2303.03679). Its formulas are not public: those below are this project's choice,
see docs/method.md. With every mask at one they reduce to VICReg (arXiv 2105.04906).

Nothing of size N x K x D or K x D x D is made, and only the smaller of the Gram matrices N x N and
D x D: fifty subspaces cost what one costs.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mast_plugin.core.equivariance import equivariance_term
from mast_plugin.core.loss_check import check_difference, check_tensors
from mast_plugin.core.options import LossOptions
from mast_plugin.core.uncertainty import mean_over_active, relative_weights, uncertainty_term

STD_EPSILON = 1e-4  # added to the variance under the root, as in VICReg
MASK_FLOOR = 1e-12  # smaller masks count as this: log and gradient stay finite


class MASTTerms(NamedTuple):
    """The loss and its components, each before its weight is applied.

    Attributes:
        loss: Scalar, weighted sum of the six terms that follow.
        invariance: Scalar, mean over pairs of the weighted error.
        variance: Scalar, hinge on the standard deviations, summed over the two views.
        covariance: Scalar, squared off-diagonal covariances, summed over the two views.
        capacity: Scalar, squared deviation of the mean masks from their share, summed over types.
        uncertainty: Scalar, mean over pairs of twice the Gaussian negative log-likelihood, without
            its constant; zero without log-variances.
        equivariance: Scalar, squared error of the difference that is predicted from outside of the
            masks, mean over types; zero without it.
        type_error: (K,), detached: mean error of the pairs on which the type is active; zero for a
            type that is active on none.
        type_log_variance: (K,), detached: mean log-variance over the same pairs; zero without
            log-variances.
    """

    loss: Tensor
    invariance: Tensor
    variance: Tensor
    covariance: Tensor
    capacity: Tensor
    uncertainty: Tensor
    equivariance: Tensor
    type_error: Tensor
    type_log_variance: Tensor


USUAL = LossOptions()
SCALARS = tuple(name for name in MASTTerms._fields if not name.startswith("type_"))
"""The loss and its terms, without what is measured of each type."""


def pair_weights(masks: Tensor, route: Tensor) -> Tensor:
    """Weigh the dimensions of each pair by the product of its active types' squared masks.

    Args:
        masks: (K, D), in (0, 1]; only ratios within a row matter.
        route: (N, K), bool: which types are active on the pair.

    Returns:
        w (N, D), non-negative, rows sum to 1; uniform where no type is active.

    Source: this project's choice. Without the normalisation, masks shrink together and the error
    with them.
    """
    log_squares = 2 * masks.clamp_min(MASK_FLOOR).log()
    return torch.softmax(route.to(masks.dtype) @ log_squares, dim=1)


def pair_error(z1: Tensor, z2: Tensor, weights: Tensor) -> Tensor:
    """Measure e (N,): the squared difference of z1 and z2 (N, D), summed with weights (N, D)."""
    return (weights * (z1 - z2).square()).sum(dim=1)


def regulariser_weights(weights: Tensor, mix: float) -> Tensor:
    """Weigh the dimensions where the variance and the covariance are measured.

    They are measured where the invariance is asked for, or masks would hide on collapsed
    dimensions; the uniform share keeps every dimension alive.

    Args:
        weights: (N, D), from :func:`pair_weights`.
        mix: a, in [0, 1]: share of the batch's mean weights; the rest is uniform.

    Returns:
        W~ (D,), sums to 1.
    """
    return mix * weights.mean(dim=0) + (1 - mix) / weights.shape[1]


def variance_and_covariance(z: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Regularise one view: every dimension spread out, no two dimensions alike.

    The covariance term is D times the sum over d != d' of W~_d W~_d' C_dd'^2. With the diagonal it
    is the squared norm of the Gram matrix of the scaled embeddings, the same for rows and columns.

    Args:
        z: (N, D), N >= 2.
        weight: W~ (D,), from :func:`regulariser_weights`.

    Returns:
        The two terms, scalars, sums over the dimensions; VICReg's if W~ is uniform.

    Differs: VICReg's own code takes the mean of the two views' variance terms, solo-learn and
    :func:`mast_loss` their sum, twice as much.
    """
    num_images, num_dims = z.shape
    centred = z - z.mean(dim=0)
    variances = centred.square().sum(dim=0) / (num_images - 1)
    variance = (weight * F.relu(1 - (variances + STD_EPSILON).sqrt())).sum()

    # The floor keeps the root's gradient finite where a weight has underflowed.
    scaled = centred * weight.clamp_min(torch.finfo(weight.dtype).tiny).sqrt()
    rows = scaled if num_images <= num_dims else scaled.T
    squared_norm = (rows @ rows.T).square().sum() / (num_images - 1) ** 2
    diagonal = (weight * variances).square().sum()
    return variance, num_dims * (squared_norm - diagonal)


def capacity_term(masks: Tensor, share: float) -> Tensor:
    """Hold each subspace at its share of the dimensions.

    Args:
        masks: (K, D), in (0, 1].
        share: rho, in (0, 1].

    Returns:
        Scalar, squared deviation of the mean mask, summed over types.
    """
    return (masks.mean(dim=1) - share).square().sum()


def mast_loss(
    z1: Tensor,
    z2: Tensor,
    *,
    masks: Tensor,
    route: Tensor,
    log_variance: Tensor | None = None,
    predicted: Tensor | None = None,
    difference: Tensor | None = None,
    difference_types: Tensor | None = None,
    options: LossOptions = USUAL,
) -> MASTTerms:
    """Compute MAST's loss over a batch of pairs (the global one: gather over ranks before).

    Computed in float32, or float64 if the embeddings are, also under autocast.

    Args:
        z1: z (N, D), embeddings of the first view, N >= 2.
        z2: z' (N, D), embeddings of the second view.
        masks: m (K, D), in (0, 1], K >= 1.
        route: r (N, K), bool: which types are active on the pair.
        log_variance: u (N, K), unbounded. None switches uncertainty off: its term is zero and all
            pairs weigh the same.
        predicted: (N, P), from :func:`~mast_plugin.core.equivariance.predicted_difference`. None,
            which goes with neither of the next two, switches equivariance off.
        difference: c (N, P), see :mod:`mast_plugin.views.difference`.
        difference_types: (P,), int64, in [0, K): the type of each of its numbers.
        options: weights of the terms, and how they are measured.

    Returns:
        The weighted sum and its components.

    Raises:
        ConfigurationError: A shape or a dtype is not as above. Values are not checked: that would
            make a GPU wait.
    """
    check_tensors(z1, z2, masks, route, log_variance)
    check_difference(predicted, difference, difference_types, route)
    dtype = torch.promote_types(z1.dtype, torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2, masks = z1.to(dtype), z2.to(dtype), masks.to(dtype)
        weights = pair_weights(masks, route)
        error = pair_error(z1, z2, weights)
        if log_variance is None:
            invariance, uncertainty = error.mean(), error.new_zeros(())
            type_log_variance = error.new_zeros(len(masks))
        else:
            log_variance = log_variance.to(dtype)
            bounds = (options.min_pair_weight, options.max_pair_weight)
            invariance = (relative_weights(log_variance, route, bounds) * error).mean()
            uncertainty = uncertainty_term(error, log_variance, route)
            type_log_variance = mean_over_active(log_variance.detach(), route)
        weight = regulariser_weights(weights, options.regulariser_mix)
        variance1, covariance1 = variance_and_covariance(z1, weight)
        variance2, covariance2 = variance_and_covariance(z2, weight)
        variance, covariance = variance1 + variance2, covariance1 + covariance2
        capacity = capacity_term(masks, options.subspace_share)
        equivariance = error.new_zeros(())
        if predicted is not None and difference is not None and difference_types is not None:
            equivariance = equivariance_term(
                predicted.to(dtype), difference.to(dtype), difference_types, route
            )
        loss = (
            options.invariance_weight * invariance
            + options.variance_weight * variance
            + options.covariance_weight * covariance
            + options.capacity_weight * capacity
            + options.uncertainty_weight * uncertainty
            + options.equivariance_weight * equivariance
        )
        type_error = mean_over_active(error.detach().unsqueeze(1), route)
    return MASTTerms(
        loss,
        invariance,
        variance,
        covariance,
        capacity,
        uncertainty,
        equivariance,
        type_error,
        type_log_variance,
    )
