"""Means over seeds, their intervals, and paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.interval import ACCURACY, DIFFERENCE, LEAST, mean_interval
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.text_table import aligned, with_interval

Scores = Mapping[tuple[str, int], Mapping[str, float]]
"""Method and seed to task to accuracy."""

MEAN_TASK = "mean over tasks"


@dataclass(frozen=True)
class Estimate:
    """A mean with the ends of its 95 % interval, None without one, as with one seed or two."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """One task.

    Attributes:
        task: its name.
        cells: one per method, None where it was not measured.
        difference: of ``Comparison.ours`` to the best baseline, paired; None without a baseline.
        baseline: which one that is.
    """

    task: str
    cells: tuple[Estimate | None, ...]
    difference: Estimate | None = None
    baseline: str = ""


@dataclass(frozen=True)
class Comparison:
    """Methods side by side.

    Attributes:
        methods: their names, in order.
        rows: one per task.
        metric: what the numbers are, as on an axis: "linear top-1 accuracy of the backbone, %".
        interval: what the intervals are over: "95 % over 5 seeds"; or why there are none.
        ours: the method that the differences are of.
    """

    methods: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    metric: str
    interval: str = "95 %"
    ours: str = "mast"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.methods):
                raise ConfigurationError(
                    f"task {row.task} has {len(row.cells)} cells for {len(self.methods)} methods"
                )


def estimate(values: Sequence[float], limits: tuple[float, float] = ACCURACY) -> Estimate:
    """The mean with its interval, see :func:`~mast_plugin.evaluation.interval.mean_interval`.

    Args:
        values: over the seeds, in %.
        limits: of accuracies or of differences.
    """
    return Estimate(sum(values) / len(values), *(mean_interval(values, limits) or ()))


def scores_of(rows: Sequence[Measurement], protocol: str) -> dict[str, float]:
    """Top-1 of the backbone on every task, and the mean over the tasks where there are several."""
    found = {
        row.subject: row.value
        for row in rows
        if (row.space, row.protocol, row.metric) == ("backbone", protocol, "top1")
    }
    if len(found) > 1:
        found[MEAN_TASK] = sum(found.values()) / len(found)
    return found


def compared(
    scores: Scores, methods: Sequence[str], seeds: Sequence[int], *, ours: str, protocol: str
) -> Comparison:
    """Set methods side by side.

    The difference of ``ours`` to the best of the other methods is paired: seed by seed, to the
    method with the best mean on that task. As that method is picked for its mean, the difference
    errs on the side of the baselines.

    Args:
        scores: of every method and seed; the same tasks everywhere.
        methods: in the order of the columns.
        seeds: of every method.
        ours: whose difference is shown; none where it is not among the methods.
        protocol: what the accuracies are of.
    """
    rows = []
    for task in scores[methods[0], seeds[0]]:
        values = {name: [scores[name, seed][task] for seed in seeds] for name in methods}
        cells = tuple(estimate(values[name]) for name in methods)
        others = [name for name in methods if name != ours]
        difference, best = None, ""
        if ours in methods and others:
            best = max(others, key=lambda name: sum(values[name]))
            pairs = zip(values[ours], values[best], strict=True)
            difference = estimate([mine - theirs for mine, theirs in pairs], DIFFERENCE)
        rows.append(ComparisonRow(task, cells, difference, best))
    enough = len(seeds) >= LEAST
    count = f"95 % over {len(seeds)} seeds" if enough else "none, as it takes three seeds or more"
    metric = f"{protocol} top-1 accuracy of the backbone, %"
    return Comparison(tuple(methods), tuple(rows), metric, count, ours)


def as_text(comparison: Comparison, costs: Mapping[str, Mapping[str, float]]) -> str:
    """The comparison as a plain table: tasks by methods, the difference, and the costs."""
    head = ["", *comparison.methods, f"{comparison.ours} - best other"]
    lines = [head]
    for row in comparison.rows:
        cells = [_cell(cell) for cell in row.cells]
        note = f" ({row.baseline})" if row.baseline else ""
        lines.append([row.task, *cells, _cell(row.difference, "+") + note])
    for name, number in (("minutes", "minutes"), ("images/s", "images_per_second")):
        lines.append([name, *(_number(costs[m].get(number)) for m in comparison.methods), ""])
    table = [line.rstrip() for line in aligned(lines, left=(0, len(head) - 1))]
    return "\n".join([f"{comparison.metric}; intervals: {comparison.interval}", *table])


def _cell(found: Estimate | None, sign: str = "") -> str:
    return "" if found is None else with_interval(found.mean, found.low, found.high, f"{sign}.1f")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"
