"""Per-type log-variances: how they are fitted to the errors, and how they weigh the pairs.

N images (a pair of views each), K augmentation types; u (N, K) are log-variances, r (N, K) is the
route, sigma^2 (N,) is a pair's variance. Source: that ambiguous pairs are re-weighted by a Gaussian
uncertainty is the paper's (MAST, arXiv 2303.03679); the formulas, which are not public, are this
project's choice, see docs/method.md.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_PRECISION_LIMIT = 15.0  # beyond it the likelihood follows the exponential's tangent


def mean_over_active(values: Tensor, route: Tensor) -> Tensor:
    """Average values (N, K) or (N, 1) over the pairs where a type is active: (K,), zero if none."""
    return (values * route).sum(dim=0) / route.sum(dim=0).clamp_min(1)


def pair_log_variance(log_variance: Tensor, route: Tensor) -> Tensor:
    """Add up the active types' noise, which is independent: log sigma^2 (N,).

    A pair without an active type has none: it gets the sum over all types, which is finite, and
    callers discard it.
    """
    silent = ~route & route.any(dim=1, keepdim=True)
    return log_variance.masked_fill(silent, -math.inf).logsumexp(dim=1)


def uncertainty_term(error: Tensor, log_variance: Tensor, route: Tensor) -> Tensor:
    """Fit the log-variances to the errors: Gaussian likelihood, e / sigma^2 + log sigma^2.

    Args:
        error: e (N,), non-negative; detached here, or certainty could be had by shrinking errors.
        log_variance: u (N, K), unbounded.
        route: (N, K), bool.

    Returns:
        Scalar, mean over the N pairs, of which those without an active type contribute zero. Where
        1 / sigma^2 exceeds exp(15) it is replaced by its tangent in -log sigma^2: finite, and
        still pulling back.
    """
    log_precision = -pair_log_variance(log_variance, route)
    tangent = 1 + F.relu(log_precision - LOG_PRECISION_LIMIT)
    precision = log_precision.clamp_max(LOG_PRECISION_LIMIT).exp() * tangent
    likelihood = error.detach() * precision - log_precision
    return torch.where(route.any(dim=1), likelihood, 0).mean()


def relative_weights(log_variance: Tensor, route: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Weigh each pair against other pairs of the same types.

    omega = (sbar^2 / sigma^2)^(1/2), where sbar^2 adds up the types' mean log-variances ubar as
    sigma^2 adds up the pair's own. So omega^-2 is the mean of exp(u - ubar) over the active types,
    weighted by the softmax of ubar, and a type that is equally hard on every image moves nothing.

    Args:
        log_variance: u (N, K), unbounded; detached here.
        route: (N, K), bool.
        bounds: (low, high), 0 < low <= high: omega is clamped to them, then divided by its mean.

    Returns:
        omega (N,), mean 1, in [low / high, high / low]; 1 before the clamp if no type is active.
    """
    log_variance = log_variance.detach()
    typical = mean_over_active(log_variance, route).expand_as(log_variance)
    excess = pair_log_variance(log_variance, route) - pair_log_variance(typical, route)
    log_omega = torch.where(route.any(dim=1), -excess / 2, 0)
    omega = log_omega.clamp(math.log(bounds[0]), math.log(bounds[1])).exp()
    return omega / omega.mean()
