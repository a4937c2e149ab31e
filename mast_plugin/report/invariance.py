"""What representations and networks are invariant to, type by type."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mast_plugin.errors import ConfigurationError
from mast_plugin.report.figure import line, new_figure, styled, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADAR_MINIMUM = 3


@styled
def draw_profile(
    types: Sequence[str],
    spaces: Sequence[str],
    values: ArrayLike,
    *,
    meaning: str,
    limits: tuple[float, float] = (0.0, 1.0),
) -> "Figure":
    """Draw a heatmap with its numbers: a row per type, a column per representation.

    Args:
        types: K augmentation types.
        spaces: S names.
        values: (K, S); what is missing is NaN and stays blank.
        meaning: of the colours, in a word or two, for the bar beside them.
        limits: values at the ends of the colours.
    """
    matrix = np.asarray(values, dtype=float)
    _check(matrix.shape, (len(types), len(spaces)))
    figure = new_figure(
        2.4 + (0.62 if len(spaces) <= 8 else 0.42) * len(spaces), 1.7 + 0.3 * len(types)
    )
    axes = figure.subplots()
    heatmap(axes, matrix, limits, meaning, "%.2f" if limits[1] <= 1 else "%.0f")
    axes.set_yticks(range(len(types)), wrapped(types, 24))
    axes.set_xticks(range(len(spaces)), wrapped(spaces, 30), rotation=45, ha="left",
                    rotation_mode="anchor")  # fmt: skip
    axes.xaxis.tick_top()
    return figure


def heatmap(
    axes: Any, matrix: Any, limits: tuple[float, float], meaning: str, number: str = ""
) -> None:
    """Draw a matrix in colours, with a colour bar and, if asked for, the numbers in the cells."""
    rows, columns = matrix.shape
    look: dict[str, Any] = {"cmap": "viridis", "vmin": limits[0], "vmax": limits[1]}
    if number:
        edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
        cells = np.ma.masked_invalid(matrix)
        drawn = axes.pcolormesh(*edges, cells, edgecolors="white", linewidth=0.7, **look)
        axes.set_ylim(rows - 0.5, -0.5)
    else:
        # Rows are repeated because matplotlib, where it makes many columns fit, would blur them.
        extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
        drawn = axes.imshow(np.repeat(matrix, 24, axis=0), aspect="auto", extent=extent, **look)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    axes.tick_params(length=0)
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02, fraction=0.08)
    bar.set_label(meaning)
    bar.outline.set_visible(False)
    if not number:
        return
    middle = (limits[0] + limits[1]) / 2
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            color = "black" if value > middle else "white"
            text = number % value
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7.5)


@styled
def draw_radar(
    types: Sequence[str], profiles: Mapping[str, Sequence[float]], *, meaning: str
) -> "Figure":
    """Draw one closed line per network or representation over the types.

    Args:
        types: K augmentation types, at least three: fewer enclose no area.
        profiles: name to K values in [0, 1]; beyond it they are drawn at its ends.
        meaning: of the distance from the centre.
    """
    if len(types) < RADAR_MINIMUM:
        raise ConfigurationError(f"a radar needs at least 3 types, got {len(types)}")
    for values in profiles.values():
        _check((len(values),), (len(types),))
    figure = new_figure(7.4, 5.2 + 0.12 * len(profiles))
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(types), endpoint=False)
    closed = np.append(angles, angles[0])
    for index, (name, values) in enumerate(profiles.items()):
        look = line(index)
        around = np.append(values, values[0]).clip(0, 1)
        axes.plot(closed, around, look.dashes, color=look.color, marker=look.marker, ms=3.5,
                  label=name)  # fmt: skip
        if len(profiles) <= 3:
            axes.fill(closed, around, color=look.color, alpha=0.08)
    axes.set_xticks(angles, wrapped(types, 13))
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.cos(angle)
        label.set_horizontalalignment(
            "center" if abs(side) < 0.15 else "left" if side > 0 else "right"
        )
    axes.tick_params(axis="x", pad=5)
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["0.25", "0.5", "0.75", "1"], color="#666666")
    axes.set_rlabel_position(180 / len(types))  # type: ignore[attr-defined]
    axes.set_title(meaning, pad=18)
    figure.legend(loc="outside right center", handlelength=3)
    return figure


def _check(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise ConfigurationError(f"the values must be {expected}, got {shape}")
