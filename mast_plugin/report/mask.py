"""What the masks have learned and how the types relate."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mast_plugin.analysis.relation import Relation
from mast_plugin.errors import ConfigurationError
from mast_plugin.report.figure import PALETTE, new_figure, readable, styled, wrapped
from mast_plugin.report.invariance import heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = {
    "unique": ("this type only", PALETTE[1]),
    "shared": ("with some others", PALETTE[5]),
    "common": ("with all others", "#b8b8b8"),
    "outside": ("left out, by others too", "#e4e4e4"),
    "freed": ("left out by this type only", PALETTE[0]),
}


@styled
def draw_masks(masks: Tensor, relation: Relation) -> "Figure":
    """Draw the masks in colours: a row per type, a column per dimension, alike ones together.

    Args:
        masks: (K, D), in (0, 1].
        relation: of these masks.
    """
    values = masks.detach().cpu().float().numpy()[list(relation.order)]
    values = values[:, list(relation.dimension_order)]
    figure = new_figure(9, 1.1 + 0.24 * len(values))
    axes = figure.subplots()
    heatmap(axes, values, (0.0, 1.0), "mask")
    axes.set_yticks(range(len(values)), wrapped(_ordered(relation), 24))
    axes.set_xticks([])
    axes.set_xlabel(f"{values.shape[1]} embedding dimensions, alike ones side by side")
    return figure


@styled
def draw_overlap(relation: Relation) -> "Figure":
    """Draw the (K, K) overlaps as a heatmap with numbers, alike types side by side."""
    order = list(relation.order)
    values = relation.overlap[np.ix_(order, order)]
    number = len(order)
    figure = new_figure(2.9 + 0.46 * number, 1.7 + 0.4 * number)
    axes = figure.subplots()
    # The diagonal is one by definition; the colours are for what differs.
    rest = values[~np.eye(number, dtype=bool)]
    low = float(np.floor(rest.min() * 10) / 10) if rest.size else 0.0
    heatmap(axes, values, (min(low, 0.9), 1.0), "overlap", "%.2f")
    axes.set_yticks(range(number), wrapped(_ordered(relation), 24))
    axes.set_xticks(range(number), wrapped(_ordered(relation), 24), rotation=45, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    return figure


@styled
def draw_tree(relation: Relation) -> "Figure":
    """Draw the tree that joins types by the correlation of their masks.

    Args:
        relation: of at least two types.

    Raises:
        ConfigurationError: there is one type only.
    """
    from scipy.cluster.hierarchy import dendrogram

    if relation.linkage is None:
        raise ConfigurationError("one type alone makes no tree")
    figure = new_figure(7.5, 1.2 + 0.27 * len(relation.types))
    axes = figure.subplots()
    dendrogram(
        relation.linkage,
        ax=axes,
        orientation="right",
        labels=[readable(kind) for kind in relation.types],
        color_threshold=0,
        above_threshold_color=PALETTE[0],
        leaf_font_size=8,
    )
    axes.set_xlabel("1 - correlation of the masks where two groups join (1: unrelated)")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    return figure


@styled
def draw_parts(relation: Relation) -> "Figure":
    """Draw a bar per type: how many dimensions it has to itself, shares, or leaves out."""
    order, parts = list(relation.order), relation.parts
    figure = new_figure(9, 1.3 + 0.25 * len(order))
    axes = figure.subplots()
    start = np.zeros(len(order))
    for name, (label, color) in _PARTS.items():
        widths = parts[name][order]
        axes.barh(range(len(order)), widths, left=start, color=color, label=label, height=0.75)
        start = start + widths
    axes.set_yticks(range(len(order)), wrapped(_ordered(relation), 24))
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, start.max())
    axes.set_xlabel("embedding dimensions")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=len(_PARTS), handlelength=1.2,
                  columnspacing=1.2)  # fmt: skip
    return figure


def _ordered(relation: Relation) -> list[str]:
    return [relation.types[k] for k in relation.order]
