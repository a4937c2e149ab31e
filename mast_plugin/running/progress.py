"""How far work is: a bar on a terminal, and now and then a line in a log file."""

import sys
from collections.abc import Iterable
from typing import Any

LINE_S = 30.0
"""How often a line is written; work that is done sooner writes none."""
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, {remaining} left"


class _Lines:
    """Standard error, for a bar: what would be drawn over becomes a line of its own."""

    def write(self, text: str) -> None:
        if line := text.strip():
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    work: Iterable[Any] | None = None,
    description: str = "",
    *,
    total: int | None = None,
    unit: str = "step",
    shown: bool | None = None,
) -> Any:
    """A tqdm bar, which is itself the iterable.

    Args:
        work: what is iterated over; ``None``: ``update`` is called instead.
        description: what is done.
        total: number of units, where ``work`` does not tell.
        unit: in the singular.
        shown: ``None``: a bar where standard error is a terminal, else lines; or a bar in any case,
            or nothing at all.
    """
    from tqdm import tqdm

    options: dict[str, Any] = {"desc": description, "total": total, "unit": unit, "leave": False}
    if shown is None and not sys.stderr.isatty():
        # With a fixed number of units between two looks, tqdm's own thread leaves the bar alone.
        options |= {"file": _Lines(), "bar_format": _LINE, "miniters": 1}
        options |= {"mininterval": LINE_S, "delay": LINE_S}
    return tqdm(work, disable=shown is False, **options)


def describe(bar: Any, description: str) -> None:
    """Say what is done next; a terminal shows it at once, a log file with its next line."""
    bar.set_description(description, refresh=sys.stderr.isatty())


def duration(seconds: float) -> str:
    """A time that is estimated, in words."""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    hours = round(seconds / 3600)
    return f"about {hours} hours" if hours < 48 else f"about {round(seconds / 86400)} days"
