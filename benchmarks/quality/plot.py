"""Accuracy against the strength of the augmentations: docs/images/quality-strength.png.

page.py draws it; everything in it is in results/cifar.json and results/strength.json.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

METHODS = {"vicreg": "vicreg-light", "vicreg-routed": "vicreg-routed", "mast": "mast"}
"""What the stage ``strength`` calls a method, and its name at the usual strength."""
LEVELS = ("weak", "usual", "strong", "strongest")
MANY = "15 types"  # of the usual strength, so not on the line of the levels
OWN, OTHERS = "class", "mean of the other tasks"
Scores = dict[str, list[dict[str, float]]]
Accuracies = Callable[[dict[str, Any], str, str], Scores]


def draw_strength(results: dict[str, Any], accuracies: Accuracies, path: Path) -> None:
    """Draw the class task and the mean of the other tasks, on the backbone and on the embedding.

    Args:
        results: of the stages ``cifar`` and ``strength``; only seeds that both have are drawn.
        accuracies: page.py's, of a stage, a space and a protocol.
        path: of the picture.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for row, space in zip(axes, ("backbone", "embedding"), strict=True):
        usual = accuracies(_common(results["cifar"], results["strength"]), space, "linear")
        others = accuracies(results["strength"], space, "linear")
        for axis, task in zip(row, (OWN, OTHERS), strict=True):
            for method in METHODS:
                heights = [_height(task, runs) for runs in _by_level(method, usual, others)]
                (line,) = axis.plot(LEVELS, heights[:-1], marker="o", label=method)
                axis.plot([MANY], heights[-1:], marker="D", color=line.get_color())
            _label(axis, space, task)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(METHODS))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _by_level(method: str, usual: Scores, others: Scores) -> list[list[dict[str, float]]]:
    """A method's runs at every level, and with many types."""
    named = {"usual": usual[METHODS[method]], MANY: others[f"{method}15"]}
    return [named.get(level) or others[f"{method}-{level}"] for level in (*LEVELS, MANY)]


def _height(task: str, runs: list[dict[str, float]]) -> float:
    return mean(run[task] for run in runs)


def _common(usual: dict[str, Any], strength: dict[str, Any]) -> dict[str, Any]:
    """The usual strength's runs of the seeds that the other strengths were run with."""
    seeds = strength["configuration"]["seeds"]
    return {**usual, "runs": [run for run in usual["runs"] if run["seed"] in seeds]}


def _label(axis: Axes, space: str, task: str) -> None:
    axis.set_title(f"{space}: {task}")
    axis.set_ylabel("linear, top-1 in %")
    axis.grid(alpha=0.3)
