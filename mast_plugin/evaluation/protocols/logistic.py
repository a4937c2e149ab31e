"""Multinomial logistic regression, with an L2 weight on standardised features.

The convention of the L2 weight: the objective is the *mean* cross-entropy plus
l2 / 2 times the squared norm of the weights, with the bias free.  So it does not depend on the
number of images; scikit-learn's C is 1 / (l2 N).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mast_plugin.errors import ConfigurationError


@dataclass(frozen=True)
class Standardisation:
    """Shift and scale that give features mean 0 and standard deviation 1.

    Attributes:
        mean: (F,).
        deviation: (F,); 1 for a feature that is constant up to rounding.
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor, relevance: Tensor | None = None) -> "Standardisation":
        """Measures (N, F) features.

        Args:
            features: (N, F).
            relevance: (F,) in (0, 1], deviations that the features get instead of 1: the mask of a
                subspace, which standardising its features would undo.
        """
        deviation, mean = torch.std_mean(features, 0, correction=0)
        rounding = 10 * torch.finfo(features.dtype).eps * features.abs().amax(0)
        deviation = torch.where(deviation > rounding, deviation, torch.ones_like(deviation))
        return cls(mean, deviation if relevance is None else deviation / relevance.clamp(min=1e-6))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardises (M, F) features."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class LogisticModel:
    """A fitted classifier.

    Attributes:
        weight: (F, C).
        bias: (C,).
    """

    weight: Tensor
    bias: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Logits (M, C) of (M, F) features."""
        return features @ self.weight + self.bias


def fit_logistic(
    features: Tensor, labels: Tensor, classes: int, *, l2_weight: float, tolerance: float = 1e-5
) -> LogisticModel:
    """Fits one classifier; see :func:`fit_path`."""
    path = fit_path(features, labels, classes, l2_weights=[l2_weight], tolerance=tolerance)
    return next(path)[1]


def fit_path(
    features: Tensor,
    labels: Tensor,
    classes: int,
    *,
    l2_weights: Sequence[float],
    tolerance: float = 1e-4,
    iterations: int = 500,
) -> Iterator[tuple[float, LogisticModel]]:
    """Fits classifiers from the strongest L2 weight to the weakest, each from the one before.

    L-BFGS with a strong-Wolfe line search, on the features' principal axes.  There the curvature
    of the objective is nearly diagonal, so that scaling each axis by its root leaves few
    iterations even where features are close to collinear.  Turning the axes does not change the
    squared norm of the weights, and the best weights lie in the span of the images: so the minimum
    is the same, also where there are fewer images, and axes, than features.

    Args:
        features: (N, F), standardised; float32 or float64, which is the precision of the fit.
        labels: (N,) labels in [0, classes), int64.
        classes: C.
        l2_weights: > 0, in any order; see the module for the convention.
        tolerance: bound on every component of the gradient along the scaled axes; below the root
            of the precision (3e-4 for float32) it only says to go on until rounding ends the fit.
        iterations: an upper bound for each fit.

    Yields:
        Each L2 weight, from the strongest, with its classifier.

    Raises:
        ConfigurationError: an L2 weight is not positive, or there is none.
    """
    if not l2_weights or min(l2_weights) <= 0:
        raise ConfigurationError(
            f"The L2 weights are {list(l2_weights)}: give one or more, all above 0."
        )
    axes, moments = _principal_axes(features)
    turned = features @ axes
    weight, bias = turned.new_zeros(axes.shape[1], classes), turned.new_zeros(classes)
    for l2_weight in sorted(l2_weights, reverse=True):
        # Curvature of the mean loss along an axis where all classes are as likely.
        stretch = (moments * (classes - 1) / classes**2 + l2_weight).rsqrt()[:, None]
        free = (weight / stretch).requires_grad_(), bias.clone().requires_grad_()
        _minimise(turned, labels, free, stretch, l2_weight, tolerance, iterations)
        weight, bias = (free[0].detach() * stretch), free[1].detach()
        yield l2_weight, LogisticModel(axes @ weight, bias)


def _minimise(
    turned: Tensor,
    labels: Tensor,
    free: tuple[Tensor, Tensor],
    stretch: Tensor,
    l2_weight: float,
    tolerance: float,
    iterations: int,
) -> None:
    """Moves the free weights (R, C), in units of the stretch, and the bias (C,) to the minimum."""
    optimiser = torch.optim.LBFGS(
        free,
        max_iter=iterations,
        max_eval=10 * iterations,  # or torch would stop at 1.25 a step, short of the minimum
        tolerance_grad=tolerance,
        tolerance_change=torch.finfo(turned.dtype).eps,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        weight = free[0] * stretch
        loss = F.cross_entropy(torch.addmm(free[1], turned, weight), labels)
        loss = loss + l2_weight / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(objective)  # type: ignore[no-untyped-call]


def _principal_axes(features: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal axes (F, R) that span the rows, and the mean square (R,) along each."""
    if len(features) < features.shape[1]:
        _, singular, axes = torch.linalg.svd(features, full_matrices=False)
        return axes.T, singular.square() / len(features)
    moments, axes = torch.linalg.eigh((features.T @ features).double() / len(features))
    return axes.to(features.dtype), moments.clamp(min=0).to(features.dtype)
