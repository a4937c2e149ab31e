"""Whether a network's uncertainty follows the strength of what was done to the views.

N images, K augmentation types, F features, D embedding dimensions. Source: that uncertainty
reflects how hard an augmentation makes a pair is the paper's analysis (arXiv 2303.03679); how it is
measured here is this project's choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from mast_plugin.analysis.correlation import Correlation, rank_correlation
from mast_plugin.analysis.pair import make_pairs, strengths
from mast_plugin.core.loss import pair_error
from mast_plugin.core.route import RoutePolicy
from mast_plugin.core.subspace import subspace_weights
from mast_plugin.core.uncertainty import pair_log_variance
from mast_plugin.errors import ConfigurationError
from mast_plugin.views.plan import Plan
from mast_plugin.views.torchvision import RoutedViews


@dataclass(frozen=True)
class PairNetwork:
    """The parts of a trained MAST that the analysis asks; each takes and gives whole batches.

    Attributes:
        backbone: (N, 3, H, W) normalised views on the CPU to features (N, F).
        embed: features (N, F) to embeddings (N, D).
        log_variance: features of both views, (N, F) each, to log-variances (N, K); None, as of a
            head without uncertainty, is refused.
        masks: (K, D), in (0, 1].
    """

    backbone: Callable[[Tensor], Tensor]
    embed: Callable[[Tensor], Tensor]
    log_variance: Callable[[Tensor, Tensor], Tensor | None]
    masks: Tensor


@dataclass(frozen=True)
class TypeUncertainty:
    """One type alone, at S strengths.

    Attributes:
        type: its name.
        strengths: (S,), in [0, 1]: 0 is off, 1 as configured.
        log_variance: (S,), mean over the images of the type's predicted log-variance.
        error: (S,), mean over the images of the squared error in the type's subspace, which a
            perfect log-variance would be the logarithm of.
        correlation: between the distance of the two views' parameters and the log-variance, over
            all pairs of all strengths; None where one of the two never varies.
    """

    type: str
    strengths: tuple[float, ...]
    log_variance: tuple[float, ...]
    error: tuple[float, ...]
    correlation: Correlation | None


@dataclass(frozen=True)
class ExtremePairs:
    """Pairs at one end of the order by certainty, under the full plan.

    Attributes:
        indices: (C,) of the images, the most extreme first.
        log_variance: (C,), of the pair: the types' noise added up.
        views: (C, 2, 3, H, W), in [0, 1].
    """

    indices: tuple[int, ...]
    log_variance: tuple[float, ...]
    views: Tensor


@dataclass(frozen=True)
class UncertaintyAnalysis:
    """Everything that was measured.

    Attributes:
        types: K entries, in the plan's order.
        most_certain: the pairs with the smallest variances.
        least_certain: the pairs with the largest.
        num_images: N.
        seed: what was drawn.
    """

    types: tuple[TypeUncertainty, ...]
    most_certain: ExtremePairs
    least_certain: ExtremePairs
    num_images: int
    seed: int


@torch.no_grad()
def analyse_uncertainty(
    network: PairNetwork,
    images: Sequence[Image.Image],
    plan: Plan,
    *,
    steps: int = 5,
    num_extreme: int = 8,
    batch_size: int = 256,
    seed: int = 0,
) -> UncertaintyAnalysis:
    """Measure predicted log-variances against strengths, errors and parameters.

    The same seed gives the same result; torch's global generator is left as it was.

    Args:
        network: in evaluation mode.
        images: N >= 2 RGB images.
        plan: the K types, as in training.
        steps: strengths per type from 0 to 1, at least 2; on/off types have two.
        num_extreme: pairs to keep at either end, at most N.
        batch_size: pairs per forward pass.
        seed: what is drawn.

    Raises:
        ConfigurationError: fewer than two images or steps, masks that do not fit the plan, or a
            network that predicts no uncertainty.
    """
    if len(images) < 2 or steps < 2:
        raise ConfigurationError(
            f"the analysis needs at least 2 images and 2 steps, got {len(images)} and {steps}"
        )
    if len(network.masks) != len(plan.types):
        raise ConfigurationError(
            f"the network has {len(network.masks)} masks and the plan {len(plan.types)} types: "
            "give the plan that it was trained with"
        )
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    types = tuple(_one_type(network, batches, plan, k, steps, seed) for k in range(len(plan.types)))
    most, least = _extremes(network, batches, plan, num_extreme, seed)
    return UncertaintyAnalysis(types, most, least, len(images), seed)


def _one_type(
    network: PairNetwork,
    batches: Sequence[Sequence[Image.Image]],
    plan: Plan,
    k: int,
    steps: int,
    seed: int,
) -> TypeUncertainty:
    augmentation = plan.augmentations[k]
    weights = subspace_weights(network.masks)[k].cpu()
    levels = strengths(augmentation, steps)
    measured: list[Tensor] = []  # (3, S, N of the batch) each
    done = 0
    for batch in batches:
        rows = []
        for strength in levels:
            pairs = make_pairs(batch, plan, augmentation, strength, seed=seed, first_index=done)
            log_variance, (z1, z2) = _predict(network, *pairs.views)
            error = pair_error(z1, z2, weights.expand_as(z1))
            rows.append(torch.stack([log_variance[:, k], error, pairs.distance]))
        measured.append(torch.stack(rows, dim=1))
        done += len(batch)
    predicted, errors, distance = torch.cat(measured, dim=2).double().numpy()
    return TypeUncertainty(
        type=augmentation.name,
        strengths=levels,
        log_variance=tuple(predicted.mean(axis=1).tolist()),
        error=tuple(errors.mean(axis=1).tolist()),
        correlation=rank_correlation(distance.T, predicted.T, seed=seed),
    )


def _predict(
    network: PairNetwork, first: Tensor, second: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    features1, features2 = network.backbone(first), network.backbone(second)
    embeddings = network.embed(features1).float().cpu(), network.embed(features2).float().cpu()
    log_variance = network.log_variance(features1, features2)
    if log_variance is None:
        raise ConfigurationError(
            "the network predicts no uncertainty: pretrain it with method_kwargs.uncertainty=true"
        )
    return log_variance.float().cpu(), embeddings


def _extremes(
    network: PairNetwork,
    batches: Sequence[Sequence[Image.Image]],
    plan: Plan,
    count: int,
    seed: int,
) -> tuple[ExtremePairs, ExtremePairs]:
    every = RoutedViews(plan, RoutePolicy(full_prob=1.0))
    views, log_variances = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for batch in batches:
            pairs = [every(image) for image in batch]
            first, second, route, _ = map(torch.stack, zip(*pairs, strict=True))
            predicted, _ = _predict(network, first, second)
            log_variances.append(pair_log_variance(predicted, route))
            views.append(torch.stack([first, second], dim=1))
    log_variance = torch.cat(log_variances)
    order = log_variance.argsort(stable=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (plan.mean, plan.std))
    shown = (torch.cat(views) * std + mean).clamp(0, 1)

    def extreme(chosen: Tensor) -> ExtremePairs:
        return ExtremePairs(
            tuple(chosen.tolist()), tuple(log_variance[chosen].tolist()), shown[chosen].clone()
        )

    return extreme(order[:count]), extreme(order.flip(0)[:count])
