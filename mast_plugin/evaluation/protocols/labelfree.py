"""What a representation looks like without labels: its rank, its spread, its invariance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mast_plugin.errors import DataError
from mast_plugin.evaluation.labels.labelled import check_finite
from mast_plugin.evaluation.measurement import Measurement

VERSION = 1
"""Raised whenever the same features would get other numbers."""
MEASURES = ("rankme", "uniformity", "feature_std", "alignment")
RANK_IMAGES = 25_600
PAIR_IMAGES = 5_000
_CHUNK = 1024


def label_free_measurements(
    space: str, features: Tensor, views: tuple[Tensor, Tensor] | None = None, *, seed: int = 0
) -> list[Measurement]:
    """Everything that can be said without labels, as rows of the protocol ``label-free``.

    Args:
        space: name of the representation.
        features: (N, F) features, one row per image; at least two.
        views: (P, F) features of two augmented views of the same P images, for the alignment.
        seed: of the subsets of images.

    Returns:
        ``rankme``, ``uniformity``, ``feature_std`` and, given views, ``alignment``; no intervals.

    Raises:
        DataError: the features are no matrix or not finite, or the views do not match.
    """
    values = {
        "rankme": rankme(features, seed=seed),
        "uniformity": uniformity(features, seed=seed),
        "feature_std": feature_std(features),
    }
    if views is not None:
        values["alignment"] = alignment(*views)
    return [Measurement(space, "label-free", "", name, value) for name, value in values.items()]


def rankme(
    embeddings: Tensor, *, limit: int = RANK_IMAGES, epsilon: float = 1e-7, seed: int = 0
) -> float:
    """RankMe, a smooth rank: exp of the entropy of the singular values, normalised to sum 1.

    Source: Garrido, Balestriero, Najman, LeCun, ICML 2023; 25,600 embeddings suffice
    there.  As there, the embeddings are not centred.

    The singular values are the roots of the Gram matrix's eigenvalues, on its smaller side and in
    float64: they are exact to about 1e-8 of the largest, which is below epsilon.

    Args:
        embeddings: (N, D).
        limit: at most so many embeddings, a random subset, are used.
        epsilon: is added to every normalised singular value.
        seed: of the subset.

    Returns:
        The rank, in [1, min(N, D)]: 1 where all embeddings lie on one line; 0 where all are zero.

    Raises:
        DataError: the embeddings are no matrix or not finite.
    """
    check_finite(embeddings)
    chosen = _subset(embeddings, limit, seed)
    if len(chosen) < chosen.shape[1]:
        chosen = chosen.T
    gram = chosen.new_zeros(chosen.shape[1], chosen.shape[1], dtype=torch.float64)
    for part in torch.split(chosen, _CHUNK):
        gram += part.double().T @ part.double()
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    if singular.sum() == 0:
        return 0.0
    share = singular / singular.sum() + epsilon
    return math.exp(-float((share * share.log()).sum()))


def alignment(first: Tensor, second: Tensor) -> float:
    """Mean squared distance between the L2-normalised features of positive pairs (alpha = 2).

    Source: Wang and Isola, ICML 2020.

    Args:
        first: (P, F) features of one view of P images.
        second: (P, F) features of another view of each.

    Returns:
        In [0, 4]: 0 where both views have the same features, 2 where they are orthogonal.

    Raises:
        DataError: the features are no matrices of one shape, or not finite.
    """
    check_finite(first)
    check_finite(second)
    if first.shape != second.shape:
        raise DataError(
            f"The two views' features have the shapes {tuple(first.shape)} and "
            f"{tuple(second.shape)}: give a row of both views for every image."
        )
    distance = (F.normalize(first) - F.normalize(second)).square().sum(1)
    return float(distance.double().mean())


def uniformity(
    features: Tensor, *, temperature: float = 2.0, limit: int = PAIR_IMAGES, seed: int = 0
) -> float:
    """Log of the mean of exp(-t d^2) over all pairs of distinct L2-normalised features.

    Source: Wang and Isola, ICML 2020, t = 2.

    Args:
        features: (N, F), at least two.
        temperature: t, > 0.
        limit: at most so many images, a random subset, are paired; this project's choice.
        seed: of the subset.

    Returns:
        In [-4 t, 0]: 0 where all features are the same; near -2 t, so -4 by default, for features
        spread evenly over the sphere in many dimensions.

    Raises:
        DataError: fewer than two images, or features that are no matrix or not finite.
    """
    check_finite(features)
    if len(features) < 2:
        raise DataError("The uniformity takes pairs of images: give features of two or more.")
    points = F.normalize(_subset(features, limit, seed))
    lengths = points.square().sum(1)  # 1, but 0 where the features are all zero
    total = 0.0
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        squared = lengths[part, None] + lengths - 2 * points[part] @ points.T
        similarity = (-temperature * squared.clamp(min=0)).exp()
        total += float(similarity.triu(start + 1).sum(dtype=torch.float64))
    # The mean cannot be zero in exact arithmetic; far beyond t = 2 its terms may underflow.
    pairs = len(points) * (len(points) - 1) / 2
    return math.log(max(total / pairs, torch.finfo(torch.float32).tiny))


def feature_std(features: Tensor) -> float:
    """Spread of the L2-normalised features: mean standard deviation of a dimension, times sqrt(F).

    Source: Chen and He, CVPR 2021 (SimSiam), figure 2, where 1 / sqrt(F) is the reference.

    Args:
        features: (N, F).

    Returns:
        In [0, 1]: 0 where all features point the same way, 1 where they are spread over all
        dimensions alike.

    Raises:
        DataError: the features are no matrix or not finite.
    """
    check_finite(features)
    deviation = F.normalize(features).double().std(0, correction=0)
    return float(deviation.mean()) * math.sqrt(features.shape[1])


def _subset(rows: Tensor, limit: int, seed: int) -> Tensor:
    if len(rows) <= limit:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:limit].to(rows.device)]
