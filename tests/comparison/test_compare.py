"""Comparisons: what is planned, what is counted, and a whole one that is interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from scipy import stats

from mast_plugin.compare import compare
from mast_plugin.comparison.estimate import (
    MEAN_TASK,
    Estimate,
    as_text,
    compared,
    estimate,
    scores_of,
)
from mast_plugin.comparison.trial import Trial
from mast_plugin.comparison.variant import Variant, composed, grid, read_variant, recipe_folder
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.registration import register_resolvers
from mast_plugin.running.cost import read_cost
from mast_plugin.running.ownership import _started, owned, owner_of
from mast_plugin.setting.shipped import shipped_directory, shipped_variants

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_compare.py"
KNOWN = shipped_variants()


@pytest.fixture(autouse=True)
def resolvers():
    register_resolvers()


@pytest.fixture
def tiny(image_folder):
    """Overrides for one epoch of two steps."""
    return {
        "data.train_path": str(image_folder),
        "optimizer.batch_size": 8,
        "data.num_workers": 0,
        "limit_train_batches": 2,
        "max_epochs": 1,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "method_kwargs.proj_hidden_dim": 16,
        "method_kwargs.proj_output_dim": 24,
        "scheduler.warmup_epochs": 0,
    }


# --- estimates -----------------------------------------------------------------------------------


def test_an_estimate_is_students():
    values = [43.0, 45.0, 50.0]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 2, 46.0, stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((46.0, low, high))
    assert estimate([4.0]) == Estimate(4.0, None, None)


def test_the_difference_is_paired_and_to_the_best_other():
    scores = {
        ("simclr", 0): {"a": 50.0},
        ("simclr", 1): {"a": 60.0},
        ("vicreg", 0): {"a": 58.0},
        ("vicreg", 1): {"a": 54.0},
        ("mast", 0): {"a": 61.0},
        ("mast", 1): {"a": 59.0},
    }
    table = compared(scores, ["simclr", "vicreg", "mast"], [0, 1], ours="mast", protocol="knn")
    (row,) = table.rows
    assert row.baseline == "vicreg"
    assert row.difference == estimate([3.0, 5.0])
    assert row.difference.mean == 4.0
    text = as_text(table, {name: {} for name in table.methods})
    assert "+4.0" in text and "(vicreg)" in text


def test_scores_are_the_backbones_with_their_mean():
    rows = [
        Measurement("backbone", "knn", "a", "top1", 40.0),
        Measurement("backbone", "knn", "b", "top1", 60.0),
        Measurement("backbone", "knn", "a", "top5", 90.0),
        Measurement("embedding", "knn", "a", "top1", 10.0),
        Measurement("backbone", "linear", "a", "top1", 20.0),
    ]
    assert scores_of(rows, "knn") == {"a": 40.0, "b": 60.0, MEAN_TASK: 50.0}
    assert scores_of(rows, "linear") == {"a": 20.0}


# --- variants and plans --------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWN)
def test_every_listed_variant_composes(name):
    cfg = composed(read_variant(name, KNOWN), recipe_folder(None))
    overrides = KNOWN[name].get("overrides", {})
    assert all(OmegaConf.select(cfg, key) == value for key, value in overrides.items())


def test_a_built_in_method_takes_the_recipe_of_vicreg(host):
    variant = read_variant("simsiam", KNOWN)
    cfg = composed(variant, recipe_folder(None))
    assert cfg.method == "simsiam"
    assert cfg.method_kwargs.pred_hidden_dim == 512


def test_unknown_names_are_refused_with_what_there_is(host):
    with pytest.raises(ConfigurationError, match=r"neither a variant \(simclr.*add it to variants"):
        read_variant("magic", KNOWN)
    with pytest.raises(ConfigurationError, match="recipe of x cannot be composed"):
        composed(Variant("x", "no-such-recipe", {}), recipe_folder(None))
    with pytest.raises(ConfigurationError, match="recipes=nowhere is no folder"):
        recipe_folder("nowhere")
    assert recipe_folder("scripts/pretrain/cifar") == shipped_directory() / "cifar"


def test_overrides_keep_their_types_and_the_last_wins():
    variant = Variant("x", "vicreg", {"optimizer.lr": 1.0, "data.train_path": "a b=c"})
    variant = variant.changed({"optimizer.lr": 0.5, "optimizer.kwargs": {"betas": [0.8, 0.9]}})
    cfg = composed(variant, recipe_folder(None))
    assert (cfg.optimizer.lr, cfg.data.train_path) == (0.5, "a b=c")
    assert list(cfg.optimizer.kwargs.betas) == [0.8, 0.9]


def test_a_grid_holds_every_combination():
    assert grid({}) == [{}]
    assert grid({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]


def test_runs_that_differ_in_anything_have_folders_of_their_own(tiny, tmp_path):
    def folder(name="mast", seed=0, **changes):
        variant = read_variant(name, KNOWN).changed({**tiny, **changes})
        return Trial.plan(variant, seed, recipe_folder(None), tmp_path).folder

    folders = [
        folder(),
        folder(seed=1),
        folder("vicreg"),
        folder("mast-fixed-masks"),
        folder(**{"method_kwargs.subspace_share": 0.8}),
        folder(**{"optimizer.lr": 0.1}),
    ]
    assert len(set(folders)) == len(folders)
    assert folder() == folders[0]
    assert not any(each.exists() for each in folders)


def test_one_run_is_never_done_by_two_at_once(tiny, tmp_path):
    trial = Trial.plan(read_variant("mast", KNOWN).changed(tiny), 0, recipe_folder(None), tmp_path)
    refused = pytest.raises(ConfigurationError, match="another process is pretraining mast, seed 0")
    with owned(trial.folder), refused:
        trial.pretrain()
    assert not trial.folder.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flavour": 1}, "flavour is not an option of mast-compare"),
        ({"methods": "mast"}, "methods is 'mast'; it must be a list"),
        ({"seeds": [0, 0]}, "everything once only"),
        ({"protocols": ["guess"], "metric": "guess"}, "protocols names 'guess'"),
        ({"metric": "few-shot-5"}, "metric is 'few-shot-5', which the protocols do not give"),
        ({"metric": "guess"}, "metric is 'guess', which the protocols do not give; they give knn"),
        ({"metric": "invariance"}, "metric is 'invariance', which"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        compare(OmegaConf.create(changes))


def test_labelled_images_are_read_before_anything_is_trained(tiny, labelled, tmp_path, host):
    given = {"overrides": tiny, "output": str(tmp_path / "out"), "methods": ["mast"]}
    with pytest.raises(DataError, match="taste"):
        compare(OmegaConf.create({**given, "dataset": str(labelled), "tasks": ["taste"]}))
    with pytest.raises(ConfigurationError, match="dataset is missing, and the recipes name none"):
        compare(OmegaConf.create({**given, "overrides": {**tiny, "evaluation.dataset": None}}))
    assert not (tmp_path / "out").exists()


# --- whole comparisons --------------------------------------------------------------------------


def test_a_killed_comparison_goes_on_where_it_was(tiny, labelled, tmp_path):
    overrides = "{" + ",".join(f"{k}:{json.dumps(v)}" for k, v in tiny.items()) + "}"
    command = [
        *(sys.executable, str(MAIN), "methods=[vicreg,mast]", f"overrides={overrides}"),
        *(f"dataset={labelled}", "tasks=[hue]", "protocols=[knn]", "metric=knn", "num_workers=0"),
    ]
    options = {"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "text": True}
    first = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        **options,
    )  # fmt: skip
    runs = tmp_path / "comparison" / "runs"
    deadline = time.monotonic() + 120
    while not list(runs.glob("vicreg/*/*.ckpt")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (vicreg,) = runs.glob("vicreg/*/*.ckpt")
    written = vicreg.stat().st_mtime_ns

    second = subprocess.run(command, capture_output=True, **options)
    assert second.returncode == 0, second.stderr
    assert "pretraining mast, seed 0" in second.stdout
    assert "pretraining vicreg" not in second.stdout
    assert vicreg.stat().st_mtime_ns == written
    (table,) = json.loads((tmp_path / "comparison" / "comparison.json").read_text())[
        "tables"
    ].values()
    assert table["methods"] == ["vicreg", "mast"]
    page = (tmp_path / "comparison" / "report.html").read_text()
    assert "mast minus the best baseline" in page
    assert "Masks (mast, seed 0)" in page
    (mast,) = runs.glob("mast/*/*.ckpt")
    assert read_cost(mast.parent)["images"] == 16

    third = subprocess.run(command, capture_output=True, **options)
    assert third.returncode == 0, third.stderr
    assert "pretraining" not in third.stdout


def test_a_comparison_that_is_killed_takes_its_training_along(tiny, labelled, tmp_path):
    """Killed alone, without its process group; nothing else is running in the folder then."""
    given = "{" + ",".join(f"{k}:{json.dumps(v)}" for k, v in tiny.items()) + "}"
    given = given.replace("max_epochs:1", "max_epochs:10000")
    command = [sys.executable, str(MAIN), "methods=[vicreg]", f"overrides={given}"]
    command += [f"dataset={labelled}", "tasks=[hue]", "protocols=[knn]", "metric=knn"]
    with (tmp_path / "log").open("w") as log:
        comparison = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := list(tmp_path.glob("comparison/runs/vicreg/*/*.ckpt"))):
            assert comparison.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        training = owner_of(found[0].parent)
        assert training is not None and training.pid != comparison.pid
        comparison.kill()
        comparison.wait()
        deadline = time.monotonic() + 30
        while owner_of(found[0].parent):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        while _started(training.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(comparison.pid, signal.SIGKILL)
    printed = (tmp_path / "log").read_text()
    assert "pretraining vicreg, seed 0: run 1 of 1" in printed
    assert "mast-pretrain: stopped by SIGTERM; the same command goes on from" in printed
    assert not list(tmp_path.glob("comparison/runs/vicreg/*.lock"))


def test_a_search_keeps_what_validation_likes_best(tiny, labelled, tmp_path, host, capsys):
    given = {
        "methods": ["vicreg"],
        "overrides": tiny,
        "search": {"optimizer.lr": [0.004, 1e4]},  # the second leaves nothing of the features
        "dataset": str(labelled),
        "tasks": ["hue"],
        "protocols": ["knn"],
        "metric": "knn",
        "num_workers": 0,
        "report": False,
        "output": str(tmp_path / "out"),
    }
    result = compare(OmegaConf.create(given))
    printed = capsys.readouterr().out
    assert "vicreg: {'optimizer.lr': 0.004} is the best in validation" in printed
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    good, bad = content["search"]["vicreg"]
    assert [each["options"]["optimizer.lr"] for each in (good, bad)] == [0.004, 1e4]
    assert 100 >= good["validation"] > bad["validation"] > 0
    assert len(list((tmp_path / "out" / "runs" / "vicreg").glob("*/*.ckpt"))) == 2
    (row,) = result.comparison.rows
    assert row.difference is None
