"""Evaluations of real checkpoints, as users start them."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluate import evaluate, evaluate_and_report
from mast_plugin.evaluation import evaluated as module
from mast_plugin.evaluation import version
from mast_plugin.evaluation.features.representation import representations
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.header import describe
from mast_plugin.evaluation.labels.labelled_folder import read_labelled
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.evaluation.protocols import labelfree
from mast_plugin.evaluation.protocols.fewshot import few_shot_measurements
from mast_plugin.evaluation.protocols.linear import linear_measurements
from mast_plugin.evaluation.protocols.registry import PROTOCOLS
from mast_plugin.report.run_report import findings
from mast_plugin.setting.configuration import plain

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_evaluate.py"
TASKS = ["digit", "hue"]


@pytest.fixture(scope="module")
def checkpoint(trained) -> Path:
    (path,) = trained("mast").glob("*.ckpt")
    return path


@pytest.fixture
def options(checkpoint, labelled, tmp_path):
    def make(**changes):
        given = {
            "checkpoint": str(checkpoint),
            "dataset": str(labelled),
            "tasks": TASKS,
            "output": str(tmp_path / "out"),
            "num_workers": 0,
            "report": False,
            "protocols": ["knn", "label-free"],
        }
        return OmegaConf.create({**given, **changes})

    return make


def found(rows, **wanted):
    return [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]


def test_every_space_is_measured_on_every_task(options, tmp_path):
    result = evaluate(options(combinations=["crop+grayscale"]))
    types = open_network(Path(options().checkpoint)).types
    spaces = ["backbone", "embedding", *(f"subspace {kind}" for kind in types)]
    spaces.append("subspaces crop+grayscale")
    assert list(dict.fromkeys(row.space for row in result.rows)) == spaces
    for task in TASKS:
        assert [row.space for row in found(result.rows, subject=task, metric="top1")] == spaces
    assert len(found(result.rows, metric="alignment")) == len(spaces)
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert len(stored["measurements"]) == len(result.rows)
    assert stored["header"]["method"] == "mast"
    assert stored["header"]["tasks"] == {"digit": 10, "hue": 6}
    assert (tmp_path / "out" / "evaluation.csv").is_file()
    assert "subspace crop" not in str(result)
    assert "backbone" in str(result)


def test_what_was_measured_is_read_again_until_something_matters(options, monkeypatch):
    first = evaluate(options())
    with monkeypatch.context() as patch:
        patch.setattr(module, "_measure", lambda *_: pytest.fail("measured again"))
        again = evaluate(options(num_workers=0, batch_size=16))
    assert again.rows == list(first.rows)
    other = evaluate(options(seed=1))
    assert other.header["digest"] != first.header["digest"]
    rerun = evaluate(options(seed=1, overwrite=True))
    assert [row.value for row in rerun.rows] == [row.value for row in other.rows]


ESSENTIAL = {
    "tasks": ["digit"],
    "protocols": ["knn"],
    "subspaces": [],
    "combinations": ["crop+grayscale"],
    "epochs": {"finetune": 3},
    "unmirrored": ["digit"],
    "view": {"crop_size": 20},
    "seed": 4,
}
INCIDENTAL = {
    "cache": False,
    "report": True,
    "overwrite": True,
    "batch_size": 7,
    "num_workers": 1,
    "device": "cpu",
}
"""Another value of every option that can change without naming another network or dataset."""


def test_what_is_read_again_is_known_by_everything_that_matters(options):
    network = open_network(Path(options().checkpoint))

    def digest(**changes):
        cfg = module.checked(options(**{"cache": "/nowhere", "device": "auto", **changes}))
        table = read_labelled(Path(cfg.dataset), cfg.tasks)
        context = SimpleNamespace(
            network=network, table=table, statistics=module._statistics(cfg, network)
        )
        return describe(plain(cfg), context, Path(cfg.dataset))["digest"]

    assert {
        *ESSENTIAL,
        *INCIDENTAL,
        "checkpoint",
        "config",
        "backbone",
        "dataset",
        "output",
    } == set(module.checked(options()))
    assert {digest(**{name: value}) for name, value in INCIDENTAL.items()} == {digest()}
    assert len({digest(), *(digest(**{n: v}) for n, v in ESSENTIAL.items())}) == 1 + len(ESSENTIAL)


def test_another_network_is_measured_again(options, checkpoint, tmp_path):
    """Which a file of the same name may hold."""
    place = tmp_path / "run"
    shutil.copytree(checkpoint.parent, place)
    given = {"checkpoint": str(place / checkpoint.name), "protocols": ["knn"], "subspaces": []}
    first = evaluate(options(**given))
    content = torch.load(place / checkpoint.name, weights_only=False)
    for name, weight in content["state_dict"].items():
        if name.endswith("conv1.weight"):
            weight.mul_(-1)
    torch.save(content, place / checkpoint.name)
    again = evaluate(options(**given))
    assert [row.value for row in again.rows] != [row.value for row in first.rows]


def context_of(cfg, **changed):
    """What an evaluation's protocols are given; ``changed`` is of the network's plan."""
    network = open_network(Path(cfg.checkpoint))
    network = replace(network, plan=replace(network.plan, **changed))
    return module._context(module.checked(cfg), network, Path(cfg.output))[0]


def test_every_option_reaches_the_protocols(options):
    given = {"unmirrored": ["digit"], "epochs": {"finetune": 3, "lightning-linear": 4}, "seed": 7}
    context = context_of(
        options(**given, batch_size=17, subspaces=["linear"], combinations=["crop+grayscale"])
    )
    assert {name: getattr(context, name) for name in given} == given
    assert (context.batch_size, context.workers) == (17, 0)
    assert context.masked == ["linear"]
    assert context.spaces[-1].name == "subspaces crop+grayscale"
    assert (len(context.train), len(context.test)) == (160, 60)


def test_views_are_those_of_the_run_unless_others_are_asked_for(options):
    own = {"crop_size": 20, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    other = {"crop_size": 24, "mean": (0.6, 0.5, 0.4), "std": (0.3, 0.2, 0.1)}
    assert context_of(options(), **own).statistics == ViewStatistics(**own)
    asked = {name: list(v) if isinstance(v, tuple) else v for name, v in other.items()}
    assert context_of(options(view=asked), **own).statistics == ViewStatistics(**other)


def test_the_report_looks_at_test_images_drawn_by_the_seed(options):
    context = context_of(options(seed=3))
    gone = tuple(path.with_name("gone.png") for path in context.table.train_files)
    found = findings(replace(context, table=replace(context.table, train_files=gone)))
    assert (found.uncertainty.seed, found.uncertainty.num_images) == (3, 60)
    for task in context.table.tasks:
        names, labels = found.feature_map.labels[task.name]
        assert (names, labels.tolist()) == (task.classes, task.val.tolist())


def test_a_corrected_label_is_measured_again(options, labelled, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(labelled, images)
    first = evaluate(options(dataset=str(images), protocols=["knn"], subspaces=[]))
    table = (images / "labels.csv").read_text().splitlines()
    names, row = table[0].split(","), table[1].split(",")
    digit = names.index("digit")
    row[digit] = "3" if row[digit] != "3" else "4"
    (images / "labels.csv").write_text("\n".join([table[0], ",".join(row), *table[2:]]))
    again = evaluate(options(dataset=str(images), protocols=["knn"], subspaces=[]))
    assert again.header["digest"] != first.header["digest"]


def test_an_image_that_is_replaced_is_measured_again(options, labelled, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(labelled, images)
    given = {"dataset": str(images), "protocols": ["label-free"], "subspaces": []}
    first = evaluate(options(**given))
    Image.new("RGB", (32, 32), "red").save(sorted(images.rglob("val/**/*.png"))[0])
    again = evaluate(options(**given))
    assert [row.value for row in again.rows] != [row.value for row in first.rows]


# --- what a newer version of the code would measure ----------------------------------------------


def test_a_measure_that_is_new_is_measured(options, monkeypatch):
    """Otherwise the old evaluation is read again, which lacks it."""
    given = {"protocols": ["label-free"], "subspaces": []}
    first = evaluate(options(**given))
    assert not found(first.rows, metric="extra")
    was, known = labelfree.label_free_measurements, PROTOCOLS["label-free"]

    def newer(space, *arguments, **named):
        return [*was(space, *arguments, **named), Measurement(space, "label-free", "", "extra", 1)]

    monkeypatch.setattr(labelfree, "label_free_measurements", newer)
    changed = replace(known, measures=(*known.measures, "extra"))
    monkeypatch.setitem(PROTOCOLS, "label-free", changed)
    assert len(found(evaluate(options(**given)).rows, metric="extra")) == 2


def of_the_protocol(monkeypatch, **changes):
    monkeypatch.setitem(PROTOCOLS, "label-free", replace(PROTOCOLS["label-free"], **changes))


def of_the_loading(monkeypatch):
    monkeypatch.setattr(version, "LOADING", version.LOADING + 1)


def of_the_views(monkeypatch):
    monkeypatch.setattr(version, "VIEWS", version.VIEWS + 1)


@pytest.mark.parametrize(
    "newer",
    [
        partial(of_the_protocol, version=99),
        partial(of_the_protocol, settings={"limit": 5}),
        of_the_loading,
        of_the_views,
    ],
    ids=["version", "constant", "loading", "views"],
)
def test_newer_code_measures_again(options, monkeypatch, newer):
    given = {"protocols": ["label-free"], "subspaces": []}
    first = evaluate(options(**given))
    newer(monkeypatch)
    asked = []
    monkeypatch.setattr(module, "_measure", lambda *given: asked.append(given) or first.rows)
    again = evaluate(options(**given))
    assert asked
    assert again.header["digest"] != first.header["digest"]


def test_another_protocols_version_is_no_reason_to_measure_again(options, monkeypatch):
    given = {"protocols": ["label-free"], "subspaces": []}
    evaluate(options(**given))
    monkeypatch.setitem(PROTOCOLS, "knn", replace(PROTOCOLS["knn"], version=99))
    monkeypatch.setattr(module, "_measure", lambda *_: pytest.fail("measured again"))
    evaluate(options(**given))


def test_another_network_of_the_same_weights_is_measured_again(options, checkpoint, tmp_path):
    """The views that alignment is measured on stand beside the file, which stays the same."""
    run = tmp_path / "run"
    shutil.copytree(checkpoint.parent, run)
    given = {"checkpoint": str(run / checkpoint.name), "protocols": ["label-free"]}
    first = evaluate(options(**given))
    cfg = json.loads((run / "args.json").read_text())
    cfg["augmentations"][0]["crop"] = {"min_scale": 0.9}
    (run / "args.json").write_text(json.dumps(cfg))
    again = evaluate(options(**given))
    assert [row.value for row in again.rows] != [row.value for row in first.rows]


def test_everything_that_there_is_can_be_asked_for(options):
    epochs = {"lightning-linear": 1, "finetune": 1}
    result = evaluate(options(protocols="all", subspaces="all", epochs=epochs))
    whole = {row.protocol for row in result.rows if row.space == "backbone"}
    shots = {"few-shot-5", "few-shot-10"}
    assert whole == {*PROTOCOLS, *shots} - {"few-shot"}
    parts = {row.protocol for row in result.rows if row.space == "subspace crop"}
    assert parts == {"knn", "linear", "label-free", "invariance", *shots}
    for task in TASKS:
        assert found(result.rows, protocol="finetune-10%", subject=task, metric="top1")
    for name, protocol in PROTOCOLS.items():  # which a new measure must be added to
        rows = [row for row in result.rows if row.protocol.startswith(name)]
        assert {row.metric for row in rows} == set(protocol.measures), name


def test_the_report_of_a_run_says_everything(options, tmp_path):
    evaluate_and_report(options(report=True, protocols=["knn", "invariance"]))
    page = (tmp_path / "out" / "report.html").read_text()
    for section in ("curves", "masks", "overlap", "tree", "uncertainty", "pairs", "map"):
        assert f'id="{section}"' in page
    assert "No uncertainty" not in page
    assert (tmp_path / "out" / "pictures" / "masks.svg").is_file()


def test_a_baselines_report_says_why_it_has_no_masks(options, trained, tmp_path):
    (path,) = trained("vicreg").glob("*.ckpt")
    result = evaluate_and_report(options(checkpoint=str(path), report=True, protocols=["knn"]))
    assert {row.space for row in result.rows} == {"backbone", "embedding"}
    assert "No masks: the method is vicreg" in (tmp_path / "out" / "report.html").read_text()


def test_bare_weights_are_evaluated_by_their_backbone(options, checkpoint, tmp_path):
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), tmp_path / "net.pth")
    given = {"checkpoint": str(tmp_path / "net.pth"), "backbone": {"name": "resnet18"}}
    result = evaluate(options(**given, view={"crop_size": 32}, protocols=["knn"]))
    assert {row.space for row in result.rows} == {"backbone"}
    assert result.header["method"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "???"}, "checkpoint is missing: give it as"),
        ({"checkpoint": "nowhere.ckpt"}, "nowhere.ckpt"),
        ({"protocols": ["knn", "guess"]}, "protocols names 'guess'; there are knn"),
        ({"subspaces": ["guess"]}, "subspaces names 'guess'"),
        ({"combinations": ["crop+fog"]}, "combinations names 'fog'"),
        ({"device": "tpu"}, "one of auto, cpu, cuda"),
        ({"tasks": ["taste"]}, "taste"),
        ({"flavour": 1}, "flavour is not an option of mast-evaluate"),
        ({"dataset": "/nowhere"}, "holds no labelled images"),
        ({"dataset": None}, "dataset is missing"),
    ],
)
def test_bad_options_are_refused_with_the_mend(options, changes, message):
    with pytest.raises((ConfigurationError, DataError), match=message):
        evaluate(options(**changes))


def test_the_command_prints_tables_or_one_sentence(options, labelled, checkpoint, tmp_path):
    def run(*arguments):
        command = [sys.executable, str(MAIN), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    given = ["report=false", "protocols=[label-free]", "num_workers=0", f"output={tmp_path}/cli"]
    assert "=" in checkpoint.name  # which Hydra by itself would not read without more quotes
    good = run(f"checkpoint={checkpoint}", f"dataset={labelled}", *given)
    assert good.returncode == 0, good.stderr
    assert "rankme" in good.stdout
    bad = run("checkpoint=gone.ckpt")
    assert bad.returncode == 2
    assert bad.stderr.startswith("mast-evaluate: ")
    assert len(bad.stderr.splitlines()) == 1


def test_images_are_loaded_in_processes_under_joblib_too(labelled):
    """As with Hydra's joblib launcher, whose processes start others in a way of their own."""
    files = sorted(labelled.glob("val/**/*.png"))[:4]
    assert len(files) == 4

    def load(paths):  # local, so that it travels to the other process with its code
        import torch

        from mast_plugin.evaluation.features.extraction import extract_features

        network, view = torch.nn.Flatten(), lambda image: torch.ones(3, 2, 2)
        return extract_features(network, paths, view, workers=1).shape

    from joblib import Parallel, delayed

    assert Parallel(2)(delayed(load)(files) for _ in range(2)) == [(4, 12), (4, 12)]


# --- spaces --------------------------------------------------------------------------------------


def test_a_subspace_is_the_embedding_times_its_mask(checkpoint):
    network = open_network(checkpoint)
    features = torch.randn(6, 512, generator=torch.Generator().manual_seed(0))
    spaces = {s.name: s for s in representations(network, ["crop+grayscale"])}
    embedding = spaces["embedding"](features)
    crop, grey = (network.masks[network.types.index(name)] for name in ("crop", "grayscale"))
    torch.testing.assert_close(spaces["subspace crop"](features), embedding * crop)
    torch.testing.assert_close(
        spaces["subspaces crop+grayscale"](features), embedding * crop * grey
    )
    assert spaces["backbone"](features) is features


@pytest.mark.parametrize("measure", [linear_measurements, few_shot_measurements])
def test_a_classifier_leaves_out_what_the_mask_leaves_out(measure):
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    features = torch.randn(400, 5, generator=rng)
    features[:, 0] += 4 * labels
    split = (features[:200], labels[:200], features[200:], labels[200:])
    relevance = torch.ones(5)
    (whole, *_) = measure("", "", *split, relevance=relevance)
    relevance[0] = 1e-6
    (without, *_) = measure("", "", *split, relevance=relevance)
    assert whole.value > 80
    assert without.value < 65


# --- folders of classes --------------------------------------------------------------------------


@pytest.fixture
def class_folders(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for name in ("ant", "bee"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "data"


def test_class_folders_are_one_task(class_folders):
    table = read_labelled(class_folders)
    (task,) = table.tasks
    assert task.classes == ("ant", "bee")
    assert task.train.tolist() == [0, 0, 0, 1, 1, 1]
    assert [file.parent.name for file in table.val_files] == ["ant", "ant", "bee", "bee"]


def test_class_folders_that_do_not_fit_are_refused(class_folders):
    with pytest.raises(DataError, match="leave tasks out"):
        read_labelled(class_folders, ["size"])
    (class_folders / "val" / "cat").mkdir()
    with pytest.raises(DataError, match="'cat' must have a folder in train and in val"):
        read_labelled(class_folders)
    (class_folders / "train" / "cat").mkdir()
    with pytest.raises(DataError, match="train/cat holds no images"):
        read_labelled(class_folders)
