"""A map of the features, once for every task, coloured by its labels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.report.figure import PALETTE, new_figure, readable, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMIT = 2000
_MOST_COLOURS = 20


@dataclass(frozen=True)
class FeatureMap:
    """Points on a plane and what they are called.

    Attributes:
        points: (P, 2), P <= 2000.
        indices: (P,) of the points among the features that were given.
        labels: task to (classes' names, (P,) labels).
        axes: what the two axes are.
    """

    points: NDArray[np.float64]
    indices: NDArray[np.int64]
    labels: Mapping[str, tuple[tuple[str, ...], NDArray[np.int64]]]
    axes: tuple[str, str]


def map_features(
    features: Tensor,
    labels: Mapping[str, tuple[Sequence[str], Tensor]],
    *,
    limit: int = LIMIT,
    seed: int = 0,
) -> FeatureMap:
    """Bring features to two dimensions, their principal components.

    Args:
        features: (N, F), N >= 3.
        labels: task to its classes' names and its labels (N,), int64.
        limit: points to keep, drawn at random; features stay as they are.
        seed: of the drawing.

    Raises:
        ConfigurationError: the shapes do not match.
    """
    if len(features) < 3 or any(len(numbers) != len(features) for _, numbers in labels.values()):
        raise ConfigurationError(
            f"the map needs at least 3 images and one label each, got {len(features)} images"
        )
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.permutation(len(features))[:limit])
    values = features.detach().cpu().double().numpy()[indices]
    points, axes = _principal_components(values)
    chosen = {
        task: (tuple(classes), numbers.cpu().numpy()[indices])
        for task, (classes, numbers) in labels.items()
    }
    return FeatureMap(points, indices, chosen, axes)


def _principal_components(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], tuple[str, str]]:
    from sklearn.decomposition import PCA

    points, shares = np.zeros((len(values), 2)), np.zeros(2)
    if np.ptp(values, axis=0).any():  # else no direction has a share
        found = PCA(min(2, values.shape[1]), svd_solver="full").fit(values)
        points[:, : found.n_components_] = found.transform(values)
        shares[: found.n_components_] = 100 * found.explained_variance_ratio_
    # A component's sign is arbitrary: the point farthest out is put on the positive side.
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    first, second = (f"component {i + 1} ({share:.0f} %)" for i, share in enumerate(shares))
    return points, (first, second)


@styled
def draw_map(feature_map: FeatureMap) -> "Figure":
    """Draw the points once per task, three to a row, with the classes named below each panel.

    Points are drawn in a fixed order of images, so that no class covers another on purpose.
    """
    tasks = feature_map.labels
    columns = min(3, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = new_figure(max(3.1 * columns, 4), 3.7 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, (task, (classes, numbers)) in zip(axes, tasks.items(), strict=False):
        _draw_task(panel, feature_map, task, classes, numbers)
    for panel in axes[len(tasks) :]:
        panel.set_visible(False)
    return figure


def _draw_task(
    panel: Any,
    feature_map: FeatureMap,
    task: str,
    classes: tuple[str, ...],
    numbers: NDArray[np.int64],
) -> None:
    colors = class_colors(len(classes))
    panel.scatter(*feature_map.points.T, c=[colors[n] for n in numbers], s=5, alpha=0.75,
                  linewidths=0, rasterized=True)  # fmt: skip
    panel.set_title(shortened(readable(task), 32), loc="left")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(False)
    panel.set_ylabel(feature_map.axes[1], fontsize=8)
    note = "" if len(classes) <= _MOST_COLOURS else f"\n{len(classes)} classes, unnamed"
    panel.set_xlabel(feature_map.axes[0] + note, fontsize=8)
    if note:
        return
    dots = [panel.scatter([], [], color=color, s=18) for color in colors]
    panel.legend(
        dots,
        [shortened(name, 14) for name in classes],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.09),
        ncols=3 if max(map(len, classes)) > 7 else 5,
        handletextpad=0.1,
        columnspacing=0.7,
        fontsize=7,
    )


def class_colors(count: int) -> list[Any]:
    """As many colours as classes: the common palette, or an even walk through a colour map."""
    from matplotlib import colormaps

    if count <= len(PALETTE):
        return list(PALETTE[:count])
    return [colormaps["turbo"](0.04 + 0.92 * i / (count - 1)) for i in range(count)]
