"""How a run went: every loss term, and what became of every subspace, epoch by epoch."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mast_plugin.core.loss import SCALARS
from mast_plugin.errors import DataError
from mast_plugin.pretraining.collapse import SPREAD
from mast_plugin.report.figure import line, new_figure, readable, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = tuple[tuple[float, ...], tuple[float, ...]]

_MEASURES = {
    "size": "size: mean mask",
    "effective_dimension": "effective dimension",
    "overlap": "overlap with the others",
    "error": "error of active pairs",
    "log_variance": "predicted log-variance",
}


@dataclass(frozen=True)
class Curves:
    """What a run logged.

    Attributes:
        terms: name to (x, y), the loss terms and accuracies, in the order to draw.
        subspaces: measure to type to (x, y).
        x: what the terms' x counts, "epoch" or "step".
    """

    terms: Mapping[str, Series] = field(default_factory=dict)
    subspaces: Mapping[str, Mapping[str, Series]] = field(default_factory=dict)
    x: str = "epoch"


def read_curves(folder: Path) -> Curves:
    """Read a run folder's ``metrics.csv``, and what its interruptions moved aside.

    Epochs count from 1, at whose end a value was logged. Terms are the means over epochs where the
    run has logged at least two of them, else the single steps.

    Args:
        folder: of a run; without metrics the curves are empty.

    Raises:
        DataError: the file is there and cannot be read.
    """
    rows: list[dict[str, str]] = []
    for path in _metric_files(folder):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows += csv.DictReader(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"The metrics {path} cannot be read: {error}.") from error
    epochs = _columns(rows, "epoch", offset=1)
    steps = _columns(rows, "step", offset=0)
    terms = _terms(epochs, "_epoch")
    by_step = _terms(steps, "_step")
    x = "epoch"
    if by_step and max((len(xs) for xs, _ in terms.values()), default=0) < 2:
        terms, x = by_step, "step"
    return Curves(terms, _subspaces(epochs), x)


def _metric_files(folder: Path) -> list[Path]:
    earlier = sorted(
        folder.glob("metrics.before-*.csv"), key=lambda path: (len(path.name), path.name)
    )
    return [path for path in (*earlier, folder / "metrics.csv") if path.is_file()]


def _columns(rows: Sequence[Mapping[str, str]], x: str, offset: int) -> dict[str, Series]:
    """Every numeric column against a counter; of values at the same place the last one stays."""
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        place = _number(row.get(x))
        if place is None:
            continue
        for name, text in row.items():
            value = _number(text)
            if name is not None and name not in ("epoch", "step") and value is not None:
                points.setdefault(name, {})[place + offset] = value
    return {
        name: (tuple(sorted(values)), tuple(values[place] for place in sorted(values)))
        for name, values in points.items()
    }


def _number(text: object) -> float | None:
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _terms(columns: Mapping[str, Series], ending: str) -> dict[str, Series]:
    names = [f"mast/{term}{ending}" for term in SCALARS]
    # Baselines name their terms train_<what>, and the two accuracies are in every run's metrics.
    names += sorted(name for name in columns if name.startswith("train_") and name.endswith(ending))
    by_epoch = ("val_loss", "val_acc1", *SPREAD[1:])
    names += [name for name in by_epoch if ending == "_epoch"]
    return {
        name.removesuffix(ending).removeprefix("mast/"): columns[name]
        for name in names
        if name in columns
    }


def _subspaces(columns: Mapping[str, Series]) -> dict[str, dict[str, Series]]:
    found: dict[str, dict[str, Series]] = {}
    for measure in _MEASURES:
        for name, series in columns.items():
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == "subspace" and parts[2] == measure:
                found.setdefault(measure, {})[parts[1]] = series
    return found


@styled
def draw_terms(curves: Curves) -> "Figure":
    """Draw one small panel per term, three to a row; each has its own scale.

    Args:
        curves: with at least one term.
    """
    rows = math.ceil(len(curves.terms) / 3)
    figure = new_figure(9, 2.1 * rows + 0.3)
    axes = figure.subplots(rows, 3, squeeze=False, sharex=True).ravel()
    for panel, (name, (xs, ys)) in zip(axes, curves.terms.items(), strict=False):
        panel.plot(xs, ys, color=line(0).color, marker="o" if len(xs) < 15 else "", markersize=3)
        panel.set_title(readable(name), loc="left")
    for panel in axes[len(curves.terms) :]:
        panel.set_visible(False)
    for panel in axes[max(0, len(curves.terms) - 3) : len(curves.terms)]:
        panel.set_xlabel(curves.x)
        panel.tick_params(labelbottom=True)
    return figure


@styled
def draw_subspaces(curves: Curves) -> "Figure":
    """Draw one panel per measure, a line per type, and one legend beside them.

    Args:
        curves: with at least one subspace measure.
    """
    measures = curves.subspaces
    types = list(dict.fromkeys(kind for lines in measures.values() for kind in lines))
    rows = math.ceil((len(measures) + 1) / 3)  # the legend takes a panel's place
    figure = new_figure(9, max(2.5 * rows, 2.5 * (rows - 1) + 0.17 * len(types)) + 0.2)
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for panel, (measure, lines) in zip(axes, measures.items(), strict=False):
        for kind, (xs, ys) in lines.items():
            look = line(types.index(kind))
            marker = look.marker if len(xs) < 15 else ""
            panel.plot(
                xs, ys, look.dashes, color=look.color, marker=marker, markersize=3, label=kind
            )
        panel.set_title(_MEASURES[measure], loc="left")
        panel.set_xlabel("epoch")
    for panel in axes[len(measures) :]:
        panel.set_axis_off()
    handles, _ = axes[0].get_legend_handles_labels()
    names = [readable(kind) for kind in measures[next(iter(measures))]]
    axes[len(measures)].legend(handles, names, loc="upper left", borderaxespad=0, handlelength=3)
    return figure
