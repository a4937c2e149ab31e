import csv
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from mast_plugin.analysis.correlation import Correlation
from mast_plugin.analysis.relation import relate
from mast_plugin.analysis.strength import ExtremePairs, TypeUncertainty, UncertaintyAnalysis
from mast_plugin.comparison.estimate import Comparison, ComparisonRow, Estimate
from mast_plugin.errors import ConfigurationError
from mast_plugin.report import comparison, curve, feature_map, invariance, mask, uncertainty_figure
from mast_plugin.report.figure import line, save
from mast_plugin.views.augmentation import TYPES

ALL_TYPES = [name for name in TYPES if name != "color_jitter"]


def types_of(count: int) -> list[str]:
    return ALL_TYPES[:count]


def random_masks(count: int) -> torch.Tensor:
    return torch.rand(count, 40, generator=torch.Generator().manual_seed(0)) * 0.99 + 0.01


def analysis_of(count: int) -> UncertaintyAnalysis:
    kinds = tuple(
        TypeUncertainty(kind, (0.0, 1.0), (-3.0, 0.1 * k), (0.0, 0.5), Correlation(0.5, 0.4, 0.6))
        for k, kind in enumerate(types_of(count))
    )
    views = torch.rand(3, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pairs = ExtremePairs((4, 1, 2), (-1.0, 0.5, 2.0), views)
    return UncertaintyAnalysis(kinds, pairs, pairs, 9, 0)


def curves_of(count: int) -> curve.Curves:
    series = ((1.0, 2.0, 3.0), (0.9, 0.5, 0.4))
    measures = {
        name: dict.fromkeys(types_of(count), series) for name in ("size", "error", "overlap")
    }
    return curve.Curves({"loss": series, "a $name$ with $\\frac{": series}, measures)


def map_of(count: int) -> feature_map.FeatureMap:
    features = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % max(count, 2)
    names = [f"class number {i}" for i in range(max(count, 2))]
    return feature_map.map_features(features, {"digit": (names, labels), "b": (names, labels)})


def comparison_of(count: int) -> Comparison:
    methods = tuple(f"method {i}" for i in range(count))
    cells = tuple(Estimate(50.0 + i, 48.0 + i, 52.0 + i) for i in range(count))
    rows = (ComparisonRow("digit", cells), ComparisonRow("hue", (None, *cells[1:])))
    return Comparison(methods, rows, "accuracy, %")


FIGURES = {
    "terms": lambda k: curve.draw_terms(curves_of(k)),
    "subspaces": lambda k: curve.draw_subspaces(curves_of(k)),
    "profile": lambda k: invariance.draw_profile(
        types_of(k), ["backbone", *types_of(k)], np.full((k, k + 1), 0.5), meaning="invariance"
    ),
    "radar": lambda k: invariance.draw_radar(
        types_of(max(k, 3)), {"backbone": [0.5] * max(k, 3), "b": [1.0] * max(k, 3)}, meaning="x"
    ),
    "masks": lambda k: mask.draw_masks(random_masks(k), relate(random_masks(k), types_of(k))),
    "overlap": lambda k: mask.draw_overlap(relate(random_masks(k), types_of(k))),
    "tree": lambda k: mask.draw_tree(relate(random_masks(max(k, 2)), types_of(max(k, 2)))),
    "parts": lambda k: mask.draw_parts(relate(random_masks(k), types_of(k))),
    "strengths": lambda k: uncertainty_figure.draw_strengths(analysis_of(k)),
    "correlations": lambda k: uncertainty_figure.draw_correlations(analysis_of(k)),
    "pairs": lambda k: uncertainty_figure.draw_pairs(analysis_of(k)),
    "map": lambda k: feature_map.draw_map(map_of(k)),
    "comparison": lambda k: comparison.draw_comparison(comparison_of(min(k, 6))),
}


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.mark.parametrize(
    ("name", "count"),
    [*((name, 15) for name in FIGURES), *((name, 1) for name in ("profile", "masks", "strengths"))],
)
@pytest.mark.slow
def test_no_label_is_cut_off(name, count, monkeypatch):
    figure = FIGURES[name](count)
    drawn = []  # findobj would also give labels of ticks that are not drawn
    monkeypatch.setattr(matplotlib.text.Text, "draw", lambda text, renderer: drawn.append(text))
    figure.draw_without_rendering()
    shown = [text for text in drawn if text.get_text()]
    assert shown
    frame = figure.bbox
    for text in shown:
        box = text.get_window_extent()
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
        assert inside, f"{text.get_text()!r} reaches beyond the picture"


@pytest.mark.slow
def test_files_repeat_and_settings_are_left_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    saved = [save(FIGURES["parts"](5), tmp_path / name, "picture") for name in ("one", "two")]
    assert saved[0].png.read_bytes() == saved[1].png.read_bytes()
    assert saved[0].svg.read_bytes() == saved[1].svg.read_bytes()
    assert ElementTree.fromstring(saved[0].svg.read_text()).tag.endswith("svg")
    assert b"date" not in saved[0].svg.read_bytes().lower()
    assert dict(matplotlib.rcParams) == before


def test_fifteen_lines_can_be_told_apart():
    assert len({line(index) for index in range(15)}) == 15


def test_numbers_stand_in_their_cells():
    values = [[0.11, 0.22], [0.33, float("nan")]]
    figure = invariance.draw_profile(["crop", "hue"], ["a", "b"], values, meaning="invariance")
    cells = {
        text.get_text(): tuple(round(at) for at in text.get_position())
        for text in figure.axes[0].texts
    }
    assert cells == {"0.11": (0, 0), "0.22": (1, 0), "0.33": (0, 1)}


def test_overlap_is_drawn_in_the_order_of_the_tree():
    relation = relate(random_masks(4), types_of(4))
    axes = mask.draw_overlap(relation).axes[0]
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert names == [ALL_TYPES[k].replace("_", " ") for k in relation.order]
    first, second = relation.order[:2]
    text = next(t for t in axes.texts if tuple(map(round, t.get_position())) == (1, 0))
    assert text.get_text() == f"{relation.overlap[first, second]:.2f}"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: invariance.draw_radar(["a", "b"], {"x": [1, 1]}, meaning="x"),
        lambda: invariance.draw_profile(["a"], ["b"], [[1, 2]], meaning="x"),
        lambda: mask.draw_tree(relate(torch.ones(1, 3), ["a"])),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(ConfigurationError):
        draw()


def write_metrics(path, rows) -> None:
    columns = sorted({name for row in rows for name in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def test_curves_join_an_interrupted_run(tmp_path):
    write_metrics(
        tmp_path / "metrics.before-1.csv",
        [{"epoch": e, "mast/loss_epoch": 10 - e, "subspace/hue/size": 0.5} for e in range(3)],
    )
    write_metrics(
        tmp_path / "metrics.csv",
        [
            {"step": 7, "lr-AdamW": 0.1},
            {"epoch": 2, "mast/loss_epoch": 5, "train_class_loss_epoch": 2, "val_acc1": 40},
            {"epoch": 3, "mast/loss_epoch": "nan", "mast/loss_step": 9, "step": 3},
        ],
    )
    found = curve.read_curves(tmp_path)
    assert found.x == "epoch"
    assert found.terms["loss"] == ((1, 2, 3), (10, 9, 5))
    assert set(found.terms) == {"loss", "train_class_loss", "val_acc1"}
    assert found.subspaces == {"size": {"hue": ((1, 2, 3), (0.5, 0.5, 0.5))}}


def test_a_single_epoch_is_shown_step_by_step(tmp_path):
    steps = [{"step": s, "epoch": 0, "mast/loss_step": 5 - s} for s in range(4)]
    write_metrics(tmp_path / "metrics.csv", [*steps, {"epoch": 0, "mast/loss_epoch": 3}])
    found = curve.read_curves(tmp_path)
    assert (found.x, found.terms["loss"]) == ("step", ((0, 1, 2, 3), (5, 4, 3, 2)))


def test_a_folder_without_metrics_has_no_curves(tmp_path):
    assert curve.read_curves(tmp_path) == curve.Curves()


def test_map_is_scikit_learns_projection():
    features = torch.randn(50, 8, generator=torch.Generator().manual_seed(2)) * torch.arange(1, 9)
    found = feature_map.map_features(features, {})
    expected = PCA(2).fit(features.numpy())
    np.testing.assert_allclose(
        np.abs(found.points), np.abs(expected.transform(features.numpy())), atol=1e-3
    )
    share = f"({100 * expected.explained_variance_ratio_[0]:.0f} %)"
    assert share in found.axes[0]


def test_map_keeps_a_part_with_its_own_labels():
    labels = torch.arange(3000)
    found = feature_map.map_features(torch.randn(3000, 3), {"index": (["x"], labels)})
    assert len(found.points) == len(set(found.indices)) == 2000
    assert found.labels["index"][1].tolist() == found.indices.tolist()


def test_many_classes_are_not_named():
    texts = texts_of(feature_map.draw_map(map_of(25)))
    assert any("25 classes" in text for text in texts)
    assert not any("class number" in text for text in texts)
