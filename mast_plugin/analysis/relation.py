"""How augmentation types relate to each other through their masks.

K augmentation types, D embedding dimensions. Source: that subspaces share features, own others and
so tell how augmentations relate is the paper's (arXiv 2303.03679); the measures, the threshold and
the clustering are this project's choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mast_plugin.core import subspace
from mast_plugin.errors import ConfigurationError

Array = NDArray[np.float64]

RELATIVE_WEIGHT = 0.5


@dataclass(frozen=True)
class Relation:
    """What K masks have in common.

    Attributes:
        types: the K names, in the order of the masks' rows.
        overlap: (K, K), in [0, 1]: :func:`mast_plugin.core.subspace.overlap`.
        correlation: (K, K), in [-1, 1]: Pearson's, of the masks' rows over the dimensions. A
            constant row says nothing about dimensions: it correlates with other constant rows
            fully, with the rest not at all.
        linkage: (K - 1, 4), scipy's average linkage over 1 - correlation; None for K = 1.
        order: the K types in the order of the tree's leaves, so that alike ones stand together.
        dimension_order: the D dimensions, likewise by clustering.
        member: (K, D), bool: which dimensions make up the type's subspace, see :func:`relate`.
        relative_weight: the threshold that decided it.
    """

    types: tuple[str, ...]
    overlap: Array
    correlation: Array
    linkage: Array | None
    order: tuple[int, ...]
    dimension_order: tuple[int, ...]
    member: NDArray[np.bool_]
    relative_weight: float

    @property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """How many dimensions each type has to itself, shares, or leaves free: (K,) each.

        ``unique`` belong to this type alone, ``shared`` to some others too, ``common`` to all K
        (and K > 1); ``freed`` are left out by this type alone, ``outside`` by some other as well.
        The five add up to D. What a type frees can carry what its augmentation changes.
        """
        owners = self.member.sum(axis=0)
        num_types = len(self.types)
        inside, outside = self.member, ~self.member
        masks = {
            "unique": inside & (owners == 1),
            "shared": inside & (owners > 1) & (owners < num_types),
            "common": inside & (owners == num_types) & (num_types > 1),
            "freed": outside & (owners == num_types - 1),
            "outside": outside & (owners < num_types - 1),
        }
        return {name: mask.sum(axis=1) for name, mask in masks.items()}


def relate(
    masks: Tensor, types: Sequence[str], *, relative_weight: float = RELATIVE_WEIGHT
) -> Relation:
    """Compare subspaces.

    Args:
        masks: (K, D), in (0, 1], K >= 1.
        types: the K types' names.
        relative_weight: a dimension belongs to a type's subspace if its weight, m^2 / sum m^2, is
            at least this many times the mean weight, 1 / D. In (0, 1], so that a mask of ones
            holds every dimension; a type always has at least one.

    Raises:
        ConfigurationError: shapes do not match, or the threshold is out of range.
    """
    if masks.ndim != 2 or not len(masks) or len(masks) != len(types):
        raise ConfigurationError(
            f"masks must be (K, D) with a row for each of the {len(types)} types, "
            f"got {tuple(masks.shape)}"
        )
    if not 0 < relative_weight <= 1:
        raise ConfigurationError(f"relative_weight must be in (0, 1], got {relative_weight}")
    masks = masks.detach().cpu().double()
    weights: Array = subspace.subspace_weights(masks).numpy()
    rows: Array = masks.numpy()
    correlation = _correlation(rows)
    # Weights that are equal to the mean may fall short of it by rounding.
    threshold = relative_weight / rows.shape[1] * (1 - 1e-9)
    linkage = _linkage(correlation)
    return Relation(
        types=tuple(types),
        overlap=subspace.overlap(masks).clamp(0, 1).numpy(),
        correlation=correlation,
        linkage=linkage,
        order=_leaves(linkage, len(rows)),
        dimension_order=dimension_order(rows),
        member=weights >= threshold,
        relative_weight=relative_weight,
    )


def _correlation(rows: Array) -> Array:
    centred = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    constant = norms <= 1e-9 * np.linalg.norm(rows, axis=1)
    unit = np.where(constant[:, None], 0.0, centred / np.where(constant, 1.0, norms)[:, None])
    correlation: Array = np.clip(unit @ unit.T + np.outer(constant, constant), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def _linkage(correlation: Array) -> Array | None:
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(correlation) < 2:
        return None
    distance = 1 - (correlation + correlation.T) / 2
    joined: Array = linkage(squareform(distance, checks=False), "average")
    return joined


def _leaves(linkage: Any, count: int) -> tuple[int, ...]:
    from scipy.cluster.hierarchy import leaves_list

    if linkage is None:
        return tuple(range(count))
    return tuple(int(leaf) for leaf in leaves_list(linkage))


def dimension_order(rows: Array) -> tuple[int, ...]:
    """The D dimensions of (K, D) masks by clustering: those that the types treat alike together."""
    from scipy.cluster.hierarchy import linkage

    if rows.shape[1] < 3 or np.ptp(rows, axis=1).max() == 0:
        return tuple(range(rows.shape[1]))
    return _leaves(linkage(rows.T, "average"), rows.shape[1])
