"""The look that all pictures share, and how they are written."""

import functools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from mast_plugin.files.storage import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#7F3C8D",
    "#4D4D4D",
)
"""Seven colours after Okabe and Ito, that colour-blind readers can tell apart, and a dark grey."""

_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")

GRID = "#d9d9d9"

STYLE: Any = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a dollar in a task's name is a dollar
    "svg.hashsalt": "mast_plugin",  # else the same picture has other ids each time
}


class Saved(NamedTuple):
    """One picture in both formats."""

    png: Path
    svg: Path


class Line(NamedTuple):
    """How the i-th of many things is drawn."""

    color: str
    dashes: str
    marker: str


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the common style, and leave matplotlib's settings alone."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width_in: float, height_in: float) -> "Figure":
    """An empty figure, in inches, without pyplot and its global state: nothing need be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def line(index: int) -> Line:
    """Colour, dashes and marker of the index-th: 32 are different, also without colours' help."""
    round_ = index // len(PALETTE)
    return Line(
        PALETTE[index % len(PALETTE)],
        _DASHES[round_ % len(_DASHES)],
        _MARKERS[round_ % len(_MARKERS)],
    )


def readable(name: str) -> str:
    """A type's or a measure's name as a reader would write it."""
    return name.replace("_", " ")


def wrapped(names: Sequence[str], width: int = 14) -> list[str]:
    """Names for an axis: broken into lines, and cut where a single one would still be too long."""
    return [
        "\n".join(textwrap.wrap(shortened(readable(name), 3 * width), width)) or " "
        for name in names
    ]


def shortened(text: str, length: int) -> str:
    """The text, cut to a length in characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


@styled
def save(figure: "Figure", folder: Path, name: str) -> Saved:
    """Write ``<name>.png`` (150 dpi) and ``<name>.svg``: the same figure gives the same bytes.

    Args:
        figure: anything of matplotlib's.
        folder: made where it is missing.
        name: without ending.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for each format
    saved = Saved(folder / f"{name}.png", folder / f"{name}.svg")
    with whole_file(saved.png) as file:
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    with whole_file(saved.svg) as file:
        figure.savefig(file, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    return saved
