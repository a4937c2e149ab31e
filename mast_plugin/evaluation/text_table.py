"""Plain-text tables, as the console shows them."""

from collections.abc import Collection, Iterable, Sequence

from mast_plugin.evaluation.measurement import Measurement

_WIDTH = 100
_NAME_WIDTH = 28
_ONE_DECIMAL = ("top1", "top5", "mean_per_class", "told_accuracy", "rankme")


def aligned(rows: Iterable[Sequence[str]], *, left: Collection[int], gap: int = 2) -> list[str]:
    """Pads cells to the width of their column, so that every line is as wide as the first.

    Args:
        rows: of equally many cells.
        left: columns aligned to the left, from 0; the others, of numbers, are to the right.
        gap: spaces between two columns.
    """
    columns = [
        [f"{cell:{'<' if number in left else '>'}{max(map(len, column))}}" for cell in column]
        for number, column in enumerate(zip(*rows, strict=True))
    ]
    return [(" " * gap).join(cells) for cells in zip(*columns, strict=True)]


def with_interval(value: float, low: float | None, high: float | None, form: str = ".1f") -> str:
    """``value [low, high]`` in Python's format notation; without an interval the value alone."""
    text = f"{value:{form}}"
    return text if low is None or high is None else f"{text} [{low:{form}}, {high:{form}}]"


def table(rows: Iterable[Measurement]) -> str:
    """The measurements as plain text, at most 100 columns wide: a block for every protocol.

    A block has a line for every space and subject, and a column for every metric.  Where it would
    be too wide, first the intervals are left out, then the last metrics, and this is said.
    """
    blocks: dict[str, list[Measurement]] = {}
    for row in rows:
        blocks.setdefault(row.protocol, []).append(row)
    return "\n\n".join(_block(protocol, block) for protocol, block in blocks.items())


def _block(protocol: str, rows: Sequence[Measurement]) -> str:
    cells = {(row.space, row.subject, row.metric): row for row in rows}
    names = list(dict.fromkeys((row.space, row.subject) for row in rows))
    metrics = list(dict.fromkeys(row.metric for row in rows))
    notes: list[str] = []
    intervals = True
    while True:
        texts = [
            [_shorten(space), _shorten(subject)]
            + [_cell(cells.get((space, subject, metric)), intervals) for metric in metrics]
            for space, subject in names
        ]
        lines = aligned([["space", "subject", *metrics], *texts], left=(0, 1))
        if len(lines[0]) <= _WIDTH or len(metrics) == 1:
            return "\n".join([f"{protocol}{''.join(notes)}", *lines])
        if intervals:
            intervals = False
            notes = [", without intervals"] if any(row.low is not None for row in rows) else []
        else:
            notes.append(f", without {metrics.pop()}")


def _shorten(name: str) -> str:
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 2]}.."


def _cell(row: Measurement | None, interval: bool) -> str:
    if row is None:
        return ""
    form = ".1f" if row.metric in _ONE_DECIMAL else ".3f"
    ends = (row.low, row.high) if interval else (None, None)
    return with_interval(row.value, *ends, form)
