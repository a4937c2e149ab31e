"""Uncertainty against strength, and the pairs at both of its ends."""

import math
from typing import TYPE_CHECKING, Any

from mast_plugin.analysis.strength import ExtremePairs, TypeUncertainty, UncertaintyAnalysis
from mast_plugin.errors import ConfigurationError
from mast_plugin.report.figure import PALETTE, new_figure, readable, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 5


@styled
def draw_strengths(analysis: UncertaintyAnalysis) -> "Figure":
    """Draw a panel per type: predicted log-variance, and the error's logarithm, over strength.

    A strength without any error (two equal views) has no logarithm and no point.
    """
    kinds = analysis.types
    columns = min(_COLUMNS, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    figure = new_figure(max(2.0 * columns, 4.2), 1.9 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, kind in zip(axes, kinds, strict=False):
        _draw_type(panel, kind)
    for panel in axes[len(kinds) :]:
        panel.set_visible(False)
    for panel in axes[max(0, len(kinds) - columns) : len(kinds)]:
        panel.tick_params(labelbottom=True)
    figure.supxlabel("strength (0: off, 1: as in training)", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, handlelength=3)
    return figure


def _draw_type(panel: Any, kind: TypeUncertainty) -> None:
    panel.plot(
        kind.strengths, kind.log_variance, "o-", color=PALETTE[0], ms=4, label="log-variance"
    )
    with_error = [
        (at, math.log(e)) for at, e in zip(kind.strengths, kind.error, strict=True) if e > 0
    ]
    xs, ys = zip(*with_error, strict=True) if with_error else ((), ())
    panel.plot(xs, ys, "s--", color=PALETTE[1], ms=4, label="log of the error in the subspace")
    panel.set_title(readable(kind.type), loc="left", fontsize=9)
    panel.set_xlim(-0.08, 1.08)
    panel.set_xticks([0, 0.5, 1], ["0", "½", "1"])


@styled
def draw_correlations(analysis: UncertaintyAnalysis) -> "Figure":
    """Draw a dot with its 95 % interval per type: rank correlation of distance and log-variance."""
    kinds = analysis.types
    figure = new_figure(7, 1.1 + 0.27 * len(kinds))
    axes = figure.subplots()
    for row, kind in enumerate(kinds):
        if kind.correlation is None:
            axes.text(0, row, "  never varies", va="center", fontsize=8, color="#666666")
            continue
        value, low, high = kind.correlation
        axes.plot([low, high], [row, row], color=PALETTE[0], lw=2)
        axes.plot(value, row, "o", color=PALETTE[0], ms=5.5)
    axes.set_yticks(range(len(kinds)), wrapped([kind.type for kind in kinds], 24))
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_xlim(-1.05, 1.05)
    axes.axvline(0, color="#666666", lw=1)
    axes.set_xlabel("rank correlation of the views' parameter distance and the log-variance")
    return figure


@styled
def draw_pairs(analysis: UncertaintyAnalysis) -> "Figure":
    """Draw two rows of pairs, view above view: the most certain, and below the least certain.

    Raises:
        ConfigurationError: the analysis kept no pairs.
    """
    ends = {"most certain": analysis.most_certain, "least certain": analysis.least_certain}
    count = len(analysis.most_certain.indices)
    if not count:
        raise ConfigurationError("the analysis kept no pairs: ask for num_extreme of at least 1")
    figure = new_figure(max(1.05 * count, 3.5), 5.2)
    parts: Any = figure.subfigures(2, 1, hspace=0.04)
    for part, (title, pairs) in zip(parts, ends.items(), strict=True):
        part.suptitle(f"{title} pairs", x=0.01, ha="left", fontsize=10)
        axes = part.subplots(2, count, squeeze=False)
        for column in range(count):
            _draw_pair(axes[:, column], pairs, column)
    return figure


def _draw_pair(axes: Any, pairs: ExtremePairs, column: int) -> None:
    for row in range(2):
        axes[row].imshow(pairs.views[column, row].permute(1, 2, 0).numpy())
        axes[row].axis("off")
    axes[0].set_title(f"no. {pairs.indices[column]}\n{pairs.log_variance[column]:+.2f}", fontsize=8)
