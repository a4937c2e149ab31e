"""The numbers that a report's figures show, read back from them: each at its own name's place."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from mast_plugin.analysis.correlation import Correlation
from mast_plugin.analysis.relation import relate
from mast_plugin.analysis.strength import ExtremePairs, TypeUncertainty, UncertaintyAnalysis
from mast_plugin.comparison.estimate import Comparison, ComparisonRow, Estimate
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import (
    comparison,
    curve,
    feature_map,
    invariance,
    mask,
    section,
    uncertainty_figure,
)
from mast_plugin.report.headline import several_methods

TYPES = ("crop", "hue", "blur", "grayscale")
DRAW = torch.Generator().manual_seed(4)
MASKS = torch.rand(4, 30, generator=DRAW) * 0.9 + 0.1
RELATION = relate(MASKS, TYPES)


def names_of(labels) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in labels]


def lines_of(axes) -> dict[str, tuple[list[float], list[float]]]:
    """What stands in the legend, and its points."""
    found = {line.get_label(): line.get_data() for line in axes.lines}
    return {
        name: (np.asarray(xs, float).tolist(), np.asarray(ys, float).tolist())
        for name, (xs, ys) in found.items()
        if not name.startswith("_")
    }


# --- uncertainty ---------------------------------------------------------------------------------


def pairs_of(shade: float, first: int) -> ExtremePairs:
    """Two pairs: the first view of a pair is of one shade, the second of a darker one."""
    views = torch.full((2, 2, 3, 4, 4), shade)
    views[:, 1] -= 0.1
    return ExtremePairs((first, first + 1), (shade, shade + 0.01), views)


@pytest.fixture
def analysis():
    kinds = tuple(
        TypeUncertainty(
            name,
            (0.0, 0.5, 1.0),
            (-3.0 - k, -2.0 - k, -1.0 - k),
            (0.0, float(np.exp(k)), float(np.exp(k + 1))),
            Correlation(0.1 * k, 0.1 * k - 0.05, 0.1 * k + 0.2),
        )
        for k, name in enumerate(TYPES)
    )
    return UncertaintyAnalysis(kinds, pairs_of(0.25, 10), pairs_of(0.75, 20), 9, 0)


@pytest.mark.parametrize(
    ("row", "title", "shade", "number"), [(0, "most", 0.25, 10), (1, "least", 0.75, 20)]
)
def test_pairs_stand_under_what_they_are(row, title, shade, number, analysis):
    part = uncertainty_figure.draw_pairs(analysis).subfigs[row]
    assert part.get_suptitle() == f"{title} certain pairs"
    for column in range(2):
        first, second = part.axes[column], part.axes[2 + column]
        expected = f"no. {number + column}\n{shade + 0.01 * column:+.2f}"
        assert first.get_title() == expected
        shades = [float(axes.images[0].get_array().mean()) for axes in (first, second)]
        assert shades == pytest.approx([shade, shade - 0.1], abs=0.01)


def test_every_panel_shows_its_types_variance_and_error(analysis):
    figure = uncertainty_figure.draw_strengths(analysis)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(TYPES)
    for k, axes in enumerate(figure.axes):
        found = lines_of(axes)
        assert found["log-variance"] == ([0, 0.5, 1], [-3 - k, -2 - k, -1 - k])
        strengths, errors = found["log of the error in the subspace"]
        assert strengths == [0.5, 1] and errors == pytest.approx([k, k + 1])


def test_every_correlation_stands_in_its_types_row(analysis):
    (axes,) = uncertainty_figure.draw_correlations(analysis).axes
    assert names_of(axes.get_yticklabels()) == list(TYPES)
    for row, kind in enumerate(analysis.types):
        bar, dot = axes.lines[2 * row : 2 * row + 2]
        assert list(bar.get_xdata()) == [kind.correlation.low, kind.correlation.high]
        assert list(dot.get_xdata()) == [kind.correlation.value]
        assert list(bar.get_ydata()) == [row, row] and list(dot.get_ydata()) == [row]


# --- masks ---------------------------------------------------------------------------------------


def test_every_mask_stands_beside_its_name():
    axes = mask.draw_masks(MASKS, RELATION).axes[0]
    (image,) = axes.images
    shown = np.asarray(image.get_array())[::24]  # every row is repeated
    for name, row in zip(names_of(axes.get_yticklabels()), shown, strict=True):
        expected = MASKS[TYPES.index(name)].numpy()[list(RELATION.dimension_order)]
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_every_bar_of_dimensions_stands_beside_its_name():
    axes = mask.draw_parts(RELATION).axes[0]
    names, count = names_of(axes.get_yticklabels()), len(TYPES)
    labels = {text: part for part, (text, _) in mask._PARTS.items()}
    for container in axes.containers:
        widths = [bar.get_width() for bar in container]
        values = RELATION.parts[labels[container.get_label()]]
        assert widths == [values[TYPES.index(name)] for name in names]
    assert len(axes.containers) * count == 20


def test_the_trees_leaves_have_their_own_names():
    axes = mask.draw_tree(RELATION).axes[0]
    assert names_of(axes.get_yticklabels()) == [TYPES[k] for k in RELATION.order]


# --- invariance ----------------------------------------------------------------------------------

VALUES = {
    ("backbone", "crop"): 0.11,
    ("backbone", "hue"): 0.12,
    ("backbone", "blur"): 0.13,
    ("embedding", "crop"): 0.21,
    ("embedding", "hue"): 0.22,
    ("embedding", "blur"): 0.23,
}


def test_every_line_of_a_radar_is_its_spaces():
    figure = invariance.draw_radar(
        TYPES, {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.5, 0.6, 0.7, 0.8]}, meaning="x"
    )
    (axes,) = figure.axes
    assert names_of(axes.get_xticklabels()) == list(TYPES)
    angles = axes.get_xticks().tolist()
    for name, values in (("a", [0.1, 0.2, 0.3, 0.4]), ("b", [0.5, 0.6, 0.7, 0.8])):
        assert lines_of(axes)[name] == ([*angles, angles[0]], [*values, values[0]])


def test_the_profile_of_an_evaluation_has_every_value_in_its_cell():
    rows = [
        *(Measurement(s, "invariance", t, "invariance", value) for (s, t), value in VALUES.items()),
        *(Measurement(s, "invariance", t, "similarity", 0.9) for s, t in VALUES),
        Measurement("backbone", "knn", "crop", "invariance", 0.5),  # a task of that name
    ]
    pictures = {picture.name: picture.figure for picture in section.invariances(rows).pictures}
    axes = pictures["profile-invariance"].axes[0]
    types, spaces = names_of(axes.get_yticklabels()), names_of(axes.get_xticklabels())
    shown = {
        (spaces[round(text.get_position()[0])], types[round(text.get_position()[1])]): text
        for text in axes.texts
    }
    assert {key: float(text.get_text()) for key, text in shown.items()} == VALUES
    lines = lines_of(pictures["radar"].axes[0])
    for space in ("backbone", "embedding"):
        assert lines[space][1][:3] == [VALUES[space, kind] for kind in types]


# --- curves, map, comparison ---------------------------------------------------------------------


def test_every_curve_is_its_measures_and_its_types():
    measures = {
        measure: {name: ((1.0, 2.0), (10.0 * m + k, 0.0)) for k, name in enumerate(TYPES)}
        for m, measure in enumerate(("size", "error"))
    }
    terms = {"loss": ((1.0, 2.0), (5.0, 4.0)), "variance": ((1.0, 2.0), (3.0, 1.0))}
    curves = curve.Curves(terms, measures)
    for m, axes in enumerate(curve.draw_subspaces(curves).axes[:2]):
        assert axes.get_title(loc="left").startswith(("size", "error")[m])
        assert {name: ys[0] for name, (_, ys) in lines_of(axes).items()} == {
            name: 10.0 * m + k for k, name in enumerate(TYPES)
        }
    for axes, (name, (xs, ys)) in zip(curve.draw_terms(curves).axes, terms.items(), strict=False):
        assert axes.get_title(loc="left") == name
        assert [list(axis) for axis in axes.lines[0].get_data()] == [list(xs), list(ys)]


def test_every_subspaces_measure_is_read_under_its_name(tmp_path):
    names = ["epoch", "subspace/crop/size", "subspace/crop/error", "subspace/hue/size"]
    (tmp_path / "metrics.csv").write_text(f"{','.join(names)}\n0,1,2,3\n1,4,5,6\n")
    assert curve.read_curves(tmp_path).subspaces == {
        "size": {"crop": ((1, 2), (1, 4)), "hue": ((1, 2), (3, 6))},
        "error": {"crop": ((1, 2), (2, 5))},
    }


def test_every_point_of_a_map_has_its_classes_colour():
    features = torch.randn(30, 4, generator=DRAW)
    labels = torch.randint(3, (30,), generator=DRAW)
    data = feature_map.map_features(features, {"digit": (["a", "b", "c"], labels)})
    (axes,) = feature_map.draw_map(data).axes
    points, *samples = axes.collections
    colors = [to_rgba(each, 0.75) for each in feature_map.class_colors(3)]
    assert [tuple(color) for color in points.get_facecolors()] == [colors[n] for n in labels]
    np.testing.assert_array_equal(points.get_offsets(), data.points)
    assert names_of(axes.get_legend().texts) == ["a", "b", "c"]
    named = [sample.get_facecolors()[0] for sample in samples]
    np.testing.assert_allclose(named, [to_rgba(color) for color in feature_map.class_colors(3)])


SIDE_BY_SIDE = Comparison(
    ("simclr", "mast"),
    (
        ComparisonRow("digit", (Estimate(50.0, 48.0, 53.0), Estimate(60.0, 59.0, 62.0))),
        ComparisonRow("hue", (Estimate(80.0, 79.0, 82.0), Estimate(70.0, 66.0, 71.0))),
    ),
    "accuracy, %",
)


def test_every_dot_of_a_comparison_is_its_methods():
    (axes,) = comparison.draw_comparison(SIDE_BY_SIDE).axes
    assert names_of(axes.get_yticklabels()) == ["digit", "hue"]
    for column, method in enumerate(SIDE_BY_SIDE.methods):
        means, places = lines_of(axes)[method]
        assert means == [row.cells[column].mean for row in SIDE_BY_SIDE.rows]
        assert [round(place) for place in places] == [0, 1]
        for at, row in zip(places, SIDE_BY_SIDE.rows, strict=True):
            bar = [row.cells[column].low, row.cells[column].high]
            assert any(
                list(line.get_xdata()) == bar and list(line.get_ydata()) == [at, at]
                for line in axes.lines
            )


def test_the_best_method_of_a_task_is_the_one_with_the_highest_mean():
    table = several_methods(SIDE_BY_SIDE)
    assert [[cell.best for cell in cells[:2]] for _, cells in table.rows] == [
        [False, True],
        [True, False],
    ]
