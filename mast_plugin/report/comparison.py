"""Methods side by side on every task."""

from typing import TYPE_CHECKING

import numpy as np

from mast_plugin.comparison.estimate import Comparison
from mast_plugin.report.figure import line, new_figure, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def draw_comparison(comparison: Comparison) -> "Figure":
    """Draw a dot with its interval per method and task, the methods of a task under each other."""
    methods, rows = comparison.methods, comparison.rows
    figure = new_figure(8, 1.2 + len(rows) * (0.2 + 0.13 * len(methods)))
    axes = figure.subplots()
    offsets = (np.arange(len(methods)) - (len(methods) - 1) / 2) * 0.7 / max(len(methods), 1)
    for index, (method, offset) in enumerate(zip(methods, offsets, strict=True)):
        look = line(index)
        found = [(at + offset, row.cells[index]) for at, row in enumerate(rows)]
        there = [(at, cell) for at, cell in found if cell is not None]
        for at, cell in there:
            if cell.low is not None and cell.high is not None:
                axes.plot([cell.low, cell.high], [at, at], color=look.color, lw=1.8)
        axes.plot([cell.mean for _, cell in there], [at for at, _ in there], look.marker,
                  color=look.color, ms=5, label=method)  # fmt: skip
    axes.set_yticks(range(len(rows)), wrapped([row.task for row in rows], 24))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(comparison.metric)
    for at in range(len(rows) - 1):
        axes.axhline(at + 0.5, color="#bbbbbb", lw=0.6)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=min(len(methods), 6), handletextpad=0.3)
    return figure
