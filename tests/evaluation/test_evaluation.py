import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from mast_plugin.errors import DataError
from mast_plugin.evaluate import evaluate
from mast_plugin.evaluation.before_after import BeforeAfter, Score, score_tasks
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.labels.tasks import Task, read_tasks
from mast_plugin.evaluation.protocols.linear import linear_measurements
from mast_plugin.evaluation.protocols.neighbour import knn_measurements
from mast_plugin.loading.dataset import embedded_dataset
from mast_plugin.loading.scene import TASKS, Specification

pytestmark = pytest.mark.slow


def view(image):
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1) / 255


def backbone(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())


def clusters(count, classes=5, features=16, noise=1.0, lengths=(0.1, 10), seed=0):
    """Features around one centre per class, of lengths that differ from image to image."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, features))
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    points = centres[labels] + noise * rng.normal(size=(count, features))
    points *= rng.uniform(*lengths, size=(count, 1))
    return torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    specification = Specification(train=200, val=100)
    return Path(
        embedded_dataset(root=tmp_path_factory.mktemp("cache"), specification=specification)
    )


@pytest.fixture
def written(tmp_path):
    """Writes a table of tasks, with an image behind every row."""

    def write(rows, header=("file", "split", "shape")):
        for row in rows:
            Image.new("RGB", (8, 8)).save(tmp_path / row[0])
        with (tmp_path / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / "labels.csv"

    return write


SOUND = [
    ("a.png", "train", "round"),
    ("b.png", "val", "square"),
    ("c.png", "train", "square"),
    ("d.png", "val", "round"),
    ("e.png", "train", "square"),
]


def changed(index, *row):
    return [*SOUND[:index], row, *SOUND[index + 1 :]]


# --- tasks ---------------------------------------------------------------------------------------


def test_labels_are_in_the_order_of_the_files(written):
    table = read_tasks(written(SOUND))
    (task,) = table.tasks
    assert (task.name, task.classes) == ("shape", ("round", "square"))
    assert [file.name for file in table.train_files] == ["a.png", "c.png", "e.png"]
    assert [file.name for file in table.val_files] == ["b.png", "d.png"]
    assert task.train.tolist() == [0, 1, 1]
    assert task.val.tolist() == [1, 0]


PARTIAL = [
    ("a.png", "train", "round", "-"),
    ("b.png", "val", "square", "dark"),
    ("c.png", "train", "square", "light"),
    ("d.png", "val", "round", "-"),
    ("e.png", "train", "square", "dark"),
    ("f.png", "val", "round", "light"),
]


def test_a_dash_leaves_an_image_out_of_one_task(written):
    table = read_tasks(written(PARTIAL, ("file", "split", "shape", "shade")))
    shape, shade = table.tasks
    assert table.files(shape) == (table.train_files, table.val_files)
    assert [[file.name for file in files] for files in table.files(shade)] == [
        ["c.png", "e.png"],
        ["b.png", "f.png"],
    ]
    assert shade.classes == ("dark", "light")
    assert (shade.train.tolist(), shade.val.tolist()) == ([1, 0], [0, 1])
    rows = torch.arange(3.0)[:, None]
    assert shade.of_train(rows).flatten().tolist() == [1, 2]
    assert shade.of_val(rows).flatten().tolist() == [0, 2]
    assert shape.of_val(rows) is rows


def test_a_class_left_out_of_a_split_is_refused(written):
    rows = [(*row[:3], "-" if row[3] == "light" and row[1] == "val" else row[3]) for row in PARTIAL]
    with pytest.raises(DataError, match="'light' occurs in one split only"):
        read_tasks(written(rows, ("file", "split", "shape", "shade")))


def test_a_task_of_some_images_scores_as_a_table_of_these(folder):
    whole = read_tasks(folder / "labels.csv", ["hue"])
    (task,) = whole.tasks
    some = [
        torch.arange(offset, len(labels), 2) for offset, labels in ((1, task.train), (0, task.val))
    ]
    part = replace(
        task, train=task.train[some[0]], val=task.val[some[1]],
        train_images=some[0], val_images=some[1],
    )  # fmt: skip
    table = replace(whole, tasks=(part,))
    files = table.files(part)
    alone = replace(table, train_files=files[0], val_files=files[1])
    alone = replace(alone, tasks=(replace(part, train_images=None, val_images=None),))
    assert score_tasks(backbone(), table, view) == score_tasks(backbone(), alone, view)
    assert score_tasks(backbone(), table, view) != score_tasks(backbone(), whole, view)


def test_chance_is_the_most_frequent_training_class():
    task = Task("", ("a", "b"), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 0, 1]))
    assert task.chance == 25.0


def test_the_embedded_dataset_has_all_its_tasks(folder):
    table = read_tasks(folder / "labels.csv")
    assert tuple(task.name for task in table.tasks) == TASKS
    assert (len(table.train_files), len(table.val_files)) == (200, 100)
    digits = [task.classes[label] for task in table.tasks[:1] for label in task.val]
    assert digits == [file.parent.name for file in table.val_files]


def test_columns_select_tasks(folder):
    table = read_tasks(folder / "labels.csv", columns=["size", "hue"])
    assert [task.name for task in table.tasks] == ["size", "hue"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (changed(1, "b.png", "test", "square"), "splits train and val only"),
        ([row for row in SOUND if row[1] == "train"], "splits train and val only"),
        ([], "splits train and val only"),
        (changed(0, "a.png", "train", ""), "no shape for a.png"),
        (changed(0, "a.png", "train"), "no shape for a.png"),
        (changed(0, "c.png", "train", "round"), "names 'c.png' twice"),
        (changed(3, "d.png", "val", "star"), "'round' occurs in one split only"),
        (changed(0, "a.png", "train", "star"), "'round' occurs in one split only"),
        ([(*row[:2], "round") for row in SOUND], "same shape"),
    ],
)
def test_a_bad_table_is_refused(written, rows, message):
    with pytest.raises(DataError, match=message):
        read_tasks(written(rows))


def test_a_missing_column_is_refused(written):
    with pytest.raises(DataError, match="lacks the columns split"):
        read_tasks(written(SOUND, header=("file", "part", "shape")))
    with pytest.raises(DataError, match="lacks the columns colour"):
        read_tasks(written(SOUND), columns=["colour"])


def test_a_table_for_other_images_is_refused(written):
    table = written(SOUND)
    (table.parent / "d.png").unlink()
    with pytest.raises(DataError, match=r"d\.png, which is not in"):
        read_tasks(table)


def test_an_unreadable_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_tasks(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_tasks(tmp_path / "labels.csv")


# --- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_features_are_a_direct_forward(folder, workers):
    network, files = backbone(), sorted(folder.glob("train/*/*.png"))[:50]
    features = extract_features(network, files, view, batch_size=16, workers=workers)
    images = torch.stack([view(Image.open(file)) for file in files])
    torch.testing.assert_close(features, network.eval()(images).detach())
    assert features.dtype == torch.float32


def test_every_module_is_back_in_its_own_mode(folder):
    network, files = backbone().train(), sorted(folder.glob("val/*/*.png"))[:4]
    network[1].eval()
    statistics = network[1].running_mean.clone()
    extract_features(network, files, view)
    assert [module.training for module in network] == [True, False, True, True]
    assert torch.equal(network[1].running_mean, statistics)


def test_modes_are_back_after_a_failure(folder, tmp_path):
    network = backbone().train()
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(DataError, match=r"broken\.png cannot be read"):
        extract_features(network, [tmp_path / "broken.png"], view)
    assert all(module.training for module in network.modules())


def test_the_random_state_is_left_alone(folder):
    files = sorted(folder.glob("val/*/*.png"))[:4]
    network = backbone()
    before = torch.get_rng_state()
    extract_features(network, files, view)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_classifier_can_be_trained_on_features(folder):
    features = extract_features(backbone(), sorted(folder.glob("val/*/*.png"))[:4], view)
    classifier = nn.Linear(features.shape[1], 2)
    classifier(features).sum().backward()
    assert classifier.weight.grad is not None


# --- k-NN and linear -----------------------------------------------------------------------------


def knn(train, train_labels, val, val_labels, **options):
    return knn_measurements("", "", train, train_labels, val, val_labels, **options)[0].value


def linear(train, train_labels, val, val_labels, **options):
    return linear_measurements("", "", train, train_labels, val, val_labels, **options)[0].value


@pytest.mark.parametrize(("neighbours", "temperature"), [(20, 0.07), (5, 0.5), (1, 0.07)])
def test_knn_agrees_with_scikit_learn(host, neighbours, temperature):
    (train, train_labels), (val, val_labels) = clusters(400, seed=1), clusters(300, seed=2)
    reference = KNeighborsClassifier(
        neighbours,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(train.numpy(), train_labels.numpy())
    expected = 100 * reference.score(val.numpy(), val_labels.numpy())
    accuracy = knn(
        *(train, train_labels, val, val_labels),
        neighbours=[neighbours],
        temperatures=[temperature],
    )
    assert 50 < expected < 99
    assert accuracy == pytest.approx(expected, abs=1e-4)


def test_knn_waits_for_no_other_process(host, monkeypatch):
    def gather(*_, **__):
        pytest.fail("the other processes may not be evaluating")

    monkeypatch.setattr("torchmetrics.metric.Metric.sync_context", gather)
    knn(*clusters(80), *clusters(20))


def test_knn_needs_no_host(monkeypatch):
    split = *clusters(80), *clusters(20, seed=1)
    expected = knn(*split)
    monkeypatch.setitem(__import__("sys").modules, "solo.utils.knn", None)
    assert knn(*split) == expected


def test_linear_is_perfect_on_separable_features():
    options = {"noise": 0.1, "lengths": (1, 1)}
    assert linear(*clusters(400, **options), *clusters(100, **options, seed=1)) == 100.0


def test_linear_is_at_chance_on_shuffled_labels():
    rng = np.random.default_rng(0)
    train, val = (torch.tensor(rng.normal(size=(1000, 16))) for _ in range(2))
    labels, val_labels = (torch.tensor(rng.integers(5, size=1000)) for _ in range(2))
    assert linear(train, labels, val, val_labels) == pytest.approx(20, abs=5)


def test_linear_does_not_depend_on_the_scale_of_a_feature():
    (train, labels), (val, val_labels) = clusters(400), clusters(200, seed=1)
    scale = torch.logspace(-3, 3, train.shape[1])
    scaled = linear(train * scale, labels, val * scale, val_labels)
    assert scaled == pytest.approx(linear(train, labels, val, val_labels), abs=0.51)


def test_linear_does_not_depend_on_the_number_of_images():
    (train, labels), val = clusters(200, noise=2.0), clusters(2000, noise=2.0, seed=1)
    once = linear(train, labels, *val, candidates=[1.0])
    often = linear(train.repeat(20, 1), labels.repeat(20), *val, candidates=[1.0])
    weaker = linear(train, labels, *val, candidates=[0.05])
    assert abs(often - once) < 1 < 5 < weaker - once


def test_linear_stands_dead_features():
    (train, labels), (val, val_labels) = clusters(400), clusters(200, seed=1)
    dead = F.pad(train, (0, 3)), labels, F.pad(val, (0, 3)), val_labels
    assert linear(*dead) == linear(train, labels, val, val_labels)


# --- table ---------------------------------------------------------------------------------------


BEFORE = (Score("digit", 10.0, 20.0, 30.0), Score("background", 25.0, 40.0, 50.0))
AFTER = (Score("digit", 10.0, 60.5, 70.04), Score("background", 25.0, 100.0, 99.9))


def test_the_table_is_plain_text():
    table = str(BeforeAfter(BEFORE, AFTER))
    assert table.isascii()
    _, _, digit, background = table.splitlines()
    assert digit.split() == ["digit", "20.0", "->", "60.5", "30.0", "->", "70.0", "10.0"]
    assert background.split() == ["background", "40.0", "->", "100.0", "50.0", "->", "99.9", "25.0"]
    assert len({line.index("->") for line in (digit, background)}) == 1
    assert max(map(len, table.splitlines())) <= 80


def test_the_table_is_json():
    comparison = BeforeAfter(BEFORE, AFTER)
    read = json.loads(json.dumps(comparison.as_dict()))
    assert read["trained"][0] == {"task": "digit", "chance": 10.0, "knn": 60.5, "linear": 70.04}
    assert [score["task"] for score in read["untrained"]] == ["digit", "background"]


def test_only_the_same_tasks_are_compared():
    with pytest.raises(DataError, match="same tasks"):
        BeforeAfter(BEFORE, AFTER[:1])
    with pytest.raises(DataError, match="same tasks"):
        BeforeAfter(BEFORE, (AFTER[0], replace(AFTER[1], task="hue")))


def test_tasks_are_scored_from_the_features_of_their_images(folder):
    table = read_tasks(folder / "labels.csv", columns=["hue", "digit"])
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    hue, digit = score_tasks(pooled, table, view, batch_size=32)
    train, val = (extract_features(pooled, f, view) for f in (table.train_files, table.val_files))
    labels = table.tasks[0]
    assert hue.knn == knn(train, labels.train, val, labels.val)
    assert hue.linear == linear(train, labels.train, val, labels.val)
    assert (hue.task, digit.task) == ("hue", "digit")
    assert hue.linear > 60 > 40 > digit.linear


def test_the_table_of_a_run_and_the_evaluation_of_its_checkpoint_agree(trained, labelled, tmp_path):
    """There is one k-NN accuracy and one linear accuracy, wherever they are shown."""
    folder = trained("mast", f"evaluation.dataset={labelled}")
    (checkpoint,) = folder.glob("*.ckpt")
    options = {"checkpoint": str(checkpoint), "dataset": str(labelled), "report": False}
    options |= {"protocols": ["knn", "linear"], "subspaces": [], "output": str(tmp_path / "out")}
    rows = evaluate(OmegaConf.create({**options, "num_workers": 0, "cache": False})).rows
    found = {
        (row.protocol, row.subject): row.value
        for row in rows
        if (row.space, row.metric) == ("backbone", "top1")
    }
    scores = json.loads((folder / "evaluation.json").read_text())["trained"]
    shown = {(name, score["task"]): score[name] for name in ("knn", "linear") for score in scores}
    assert len(shown) == 10
    assert shown == pytest.approx(found, abs=1e-6)
