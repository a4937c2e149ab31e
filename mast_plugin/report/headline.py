"""The tables of a report's head, as text in cells."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mast_plugin.comparison.estimate import Comparison, Estimate
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report.content import Cost
from mast_plugin.report.figure import readable

MAIN_METRICS = ("top1", "mean_per_class", "top5")
"""The first of these that a protocol measured stands for it."""

_EMPTY = "\N{EN DASH}"
_PICTURED = ("invariance",)
_METRIC_NAMES = {
    "top1": "top-1 accuracy, %",
    "top5": "top-5 accuracy, %",
    "mean_per_class": "accuracy, mean over classes, %",
}


@dataclass(frozen=True)
class Cell:
    """A number as text, its interval as smaller text, and whether it is the best of its group."""

    text: str
    interval: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table: ``rows`` hold their leading names and their cells, one per column."""

    caption: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Cell, ...]], ...]
    folded: bool = False


def single_run(measurements: Sequence[Measurement]) -> tuple[Table, ...]:
    """Tables of one run: protocols and spaces by tasks, the subspaces' folded, the label-free ones.

    Args:
        measurements: in the order to show.
    """
    labelled = [row for row in measurements if row.subject and row.protocol not in _PICTURED]
    whole = [row for row in labelled if not row.space.startswith("subspace")]
    parts = [row for row in labelled if row.space.startswith("subspace")]
    free = [row for row in measurements if not row.subject]
    tables = [
        _by_task(whole, "The whole representation", folded=False),
        _by_task(parts, "Subspaces, one at a time", folded=True),
        _by_metric(free),
    ]
    return tuple(table for table in tables if table.rows)


def _by_task(rows: Sequence[Measurement], caption: str, *, folded: bool) -> Table:
    metric = {
        protocol: _main_metric([row for row in rows if row.protocol == protocol])
        for protocol in dict.fromkeys(row.protocol for row in rows)
    }
    shown = {
        (row.protocol, row.space, row.subject): row
        for row in rows
        if row.metric == metric[row.protocol]
    }
    tasks = tuple(dict.fromkeys(subject for _, _, subject in shown))
    spaces = tuple(dict.fromkeys(space for _, space, _ in shown))
    best = _best(shown)
    body = []
    for protocol in metric:
        for space in spaces:
            found = [shown.get((protocol, space, task)) for task in tasks]
            if any(found):
                cells = (
                    _cell(row, bold=row.value == best[protocol, task])
                    if row is not None
                    else Cell(_EMPTY)
                    for row, task in zip(found, tasks, strict=True)
                )
                body.append(((protocol, space), tuple(cells)))
    metrics = dict.fromkeys(_METRIC_NAMES.get(name, readable(name)) for name in metric.values())
    return Table(
        f"{caption}: {' or '.join(metrics)}", ("protocol", "space"), tasks, tuple(body), folded
    )


def _best(shown: Mapping[tuple[str, str, str], Measurement]) -> dict[tuple[str, str], float]:
    """The largest value for each protocol and task; NaN where one space alone was measured."""
    values: dict[tuple[str, str], list[float]] = {}
    for (protocol, _, task), row in shown.items():
        values.setdefault((protocol, task), []).append(row.value)
    return {key: max(found) if len(found) > 1 else math.nan for key, found in values.items()}


def _main_metric(rows: Sequence[Measurement]) -> str:
    metrics = [row.metric for row in rows]
    return next((name for name in MAIN_METRICS if name in metrics), metrics[0])


def _by_metric(rows: Sequence[Measurement]) -> Table:
    found = {(row.space, row.metric): row for row in rows}
    columns = tuple(dict.fromkeys(row.metric for row in rows))
    spaces = tuple(dict.fromkeys(row.space for row in rows))
    body = tuple(
        (
            (space,),
            tuple(
                _cell(found[space, metric], decimals=2)
                if (space, metric) in found
                else Cell(_EMPTY)
                for metric in columns
            ),
        )
        for space in spaces
    )
    names = tuple(map(readable, columns))
    return Table("Without labels", ("space",), names, body, folded=len(spaces) > 4)


def _cell(row: Measurement, *, bold: bool = False, decimals: int = 1) -> Cell:
    return Cell(f"{row.value:.{decimals}f}", _interval(row.low, row.high, decimals), bold)


def _interval(low: float | None, high: float | None, decimals: int = 1) -> str:
    if low is None or high is None:
        return ""
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def several_methods(comparison: Comparison) -> Table:
    """Tasks by methods, the best method of each task in bold, then the paired difference."""
    difference = f"{comparison.ours} minus the best baseline"
    body = []
    for row in comparison.rows:
        best = max((cell.mean for cell in row.cells if cell is not None), default=None)
        cells = [
            Cell(_EMPTY)
            if cell is None
            else Cell(f"{cell.mean:.1f}", _interval(cell.low, cell.high), cell.mean == best)
            for cell in row.cells
        ]
        body.append(((row.task,), (*cells, _difference(row.difference, row.baseline))))
    return Table(
        f"{comparison.metric}; intervals (in smaller print): {comparison.interval}",
        ("task",),
        (*comparison.methods, difference),
        tuple(body),
    )


def _difference(estimate: Estimate | None, baseline: str) -> Cell:
    if estimate is None:
        return Cell(_EMPTY)
    note = f"to {baseline}" if baseline else ""
    if estimate.low is not None and estimate.high is not None:
        note = f"{estimate.low:+.1f} to {estimate.high:+.1f}{', ' if note else ''}{note}"
        clear = estimate.low > 0 or estimate.high < 0
    else:
        clear = False
    return Cell(f"{estimate.mean:+.1f}", note, clear)


def costs(rows: Iterable[Cost]) -> Table:
    """What each method took."""
    body = tuple(
        (
            (row.method,),
            (
                Cell(str(row.views)),
                Cell(f"{row.minutes:.1f}"),
                Cell(f"{row.images_per_second:,.0f}"),
            ),
        )
        for row in rows
    )
    columns = ("views per image", "minutes of pretraining", "images/s")
    return Table("What the pretraining took", ("method",), columns, body)
