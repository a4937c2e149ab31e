"""Tables of estimates in Markdown, for the pages that the studies write."""

from collections.abc import Iterable

from mast_plugin.comparison.estimate import Estimate


def row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def head(names: Iterable[str]) -> list[str]:
    """The first two lines of a table."""
    names = list(names)
    return [row(names), row(["---"] * len(names))]


def cell(
    found: Estimate, marked: bool = False, margin: float | None = None, decimals: int = 1
) -> str:
    """A mean with its interval, in percent or in points.

    Args:
        found: what stands in the cell.
        marked: bold where the interval leaves out zero.
        margin: of a mean without interval: bold where it is further from zero.
        decimals: of everything.
    """
    text = f"{found.mean:.{decimals}f}"
    if found.low is not None and found.high is not None:
        below, above = found.mean - found.low, found.high - found.mean
        whole = abs(above - below) < 0.05  # otherwise it is cut to where an accuracy can lie
        ends = f"[{found.low:.{decimals}f}, {found.high:.{decimals}f}]"
        text += f" ± {above:.{decimals}f}" if whole else f" {ends}"
        margin = (below if found.mean > 0 else above) if marked else None
    return f"**{text}**" if margin is not None and abs(found.mean) > margin else text
