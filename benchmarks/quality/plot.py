"""Accuracy against the strength of the augmentations: docs/images/quality-strength.png.

page.py draws it; everything in it is in results/cifar.json and results/strength.json.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

METHODS = ("vicreg", "vicreg-routed", "mast")
LEVELS = ("weak", "usual", "strong", "strongest")
OWN, OTHERS = "class", "mean of the others"
Accuracies = Callable[[dict[str, Any], str, str], dict[str, list[dict[str, float]]]]


def draw_strength(results: dict[str, Any], accuracies: Accuracies, path: Path) -> None:
    """Draw the class task and the mean of the others, on the backbone and on the embedding.

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
                runs = {
                    level: usual[method] if level == "usual" else others[f"{method}-{level}"]
                    for level in LEVELS
                }
                heights = [mean(run[task] for run in runs[level]) for level in LEVELS]
                axis.plot(LEVELS, heights, marker="o", label=method)
            _label(axis, space, task)
    axes[0, 0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _common(usual: dict[str, Any], strength: dict[str, Any]) -> dict[str, Any]:
    """The usual strength's runs of the seeds that the other strengths were run with."""
    seeds = strength["configuration"]["seeds"]
    return {**usual, "runs": [run for run in usual["runs"] if run["seed"] in seeds]}


def _label(axis: Axes, space: str, task: str) -> None:
    axis.set_title(f"{space}: {task}")
    axis.set_ylabel("linear, top-1 in %")
    axis.grid(alpha=0.3)
