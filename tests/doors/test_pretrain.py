"""Whole runs of the command, as a user starts them."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mast_plugin.errors import MASTError
from mast_plugin.pretrain import pretrain as run_pretraining
from mast_plugin.pretraining.building import build_model
from mast_plugin.setting.configuration import resolve, with_crops

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_pretrain.py"


@pytest.fixture
def pretrain(cut_down, tmp_path):
    """Run main_pretrain.py for two small steps an epoch, from another directory."""

    def run(name: str, *overrides: str) -> subprocess.CompletedProcess[str]:
        command = [
            *(sys.executable, str(MAIN), "--config-name", *name.split()),
            *cut_down,
            "max_epochs=2",
            *overrides,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def run_folder(tmp_path: Path, method: str) -> Path:
    (folder,) = (tmp_path / "trained_models" / method).iterdir()
    return folder


def test_mast_writes_checkpoint_metrics_and_arguments(pretrain, tmp_path):
    result = pretrain("mast.yaml")
    assert result.returncode == 0, result.stderr
    folder = run_folder(tmp_path, "mast")
    assert str(folder.relative_to(tmp_path)) in result.stdout
    (checkpoint,) = folder.glob("*ep=1.ckpt")
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    assert state["head.mask_logits"].shape == (5, 24)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    logged = {name for row in rows for name, value in row.items() if value}
    for name in ("mast/invariance_epoch", "subspace/crop/size", "subspace/grayscale/overlap"):
        assert name in logged
    assert (folder / "args.json").is_file()
    for noise in ("Warning", "TPU", "Tip", "logging interval", "LeafSpec", "estimate number"):
        assert noise not in result.stderr, result.stderr
    assert "less than a minute left: steps of" in result.stderr


MINE = """
defaults: [base, _self_]
method: barlow_twins
method_kwargs: {proj_hidden_dim: 16, proj_output_dim: 24, lamb: 0.005, scale_loss: 0.02}
augmentations:
"""
BLOCK = """
  - rrc: {enabled: true, crop_min_scale: 0.2, crop_max_scale: 1.0}
    color_jitter: {prob: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1}
    grayscale: {prob: 0.2}
    gaussian_blur: {prob: 0.0}
    solarization: {prob: %s}
    equalization: {prob: 0.0}
    horizontal_flip: {prob: 0.5}
    crop_size: 32
    num_crops: 1
"""


def test_a_users_own_file_runs_a_built_in_method_on_view_blocks_of_solo_learn(pretrain, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text(MINE + BLOCK % 0.0 + BLOCK % 0.2)
    result = pretrain("mine --config-path mine", "max_epochs=1")
    assert result.returncode == 0, result.stderr
    assert list(run_folder(tmp_path, "barlow_twins").glob("*.ckpt"))


def test_a_run_repeats_bit_for_bit_and_goes_on_where_it_stopped(pretrain, tmp_path):
    """Also covers that a finished epoch's checkpoint holds all that the next one needs."""
    common = ("auto_resume.enabled=true", "scheduler.name=none")
    whole = pretrain("mast.yaml", "checkpoint.dir=whole", *common)
    first = pretrain("mast.yaml", "checkpoint.dir=cut", *common)
    assert whole.returncode == first.returncode == 0, whole.stderr + first.stderr
    states = [
        torch.load(next((tmp_path / place).rglob("*ep=1.ckpt")), weights_only=False)["state_dict"]
        for place in ("whole", "cut")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()
    }
    again = pretrain("mast.yaml", "checkpoint.dir=cut", *common)
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "cut" / "mast").iterdir())) == 1
    assert "This run is finished: there was nothing to do" in again.stdout
    left = {
        path.name: path.read_bytes() for path in (tmp_path / "cut").rglob("*") if path.is_file()
    }
    assert left == before


def test_a_run_that_only_lacks_its_scores_keeps_its_metrics(pretrain, labelled, tmp_path):
    given = ("auto_resume.enabled=true", f"evaluation.dataset={labelled}", "max_epochs=1")
    first = pretrain("mast.yaml", *given)
    assert first.returncode == 0, first.stderr
    folder = run_folder(tmp_path, "mast")
    metrics = (folder / "metrics.csv").read_bytes()
    (folder / "evaluation.json").unlink()  # as a kill between training and scoring leaves it
    again = pretrain("mast.yaml", *given)
    assert again.returncode == 0, again.stderr
    assert (folder / "evaluation.json").is_file()
    assert (folder / "metrics.csv").read_bytes() == metrics
    assert not list(folder.glob("metrics.before-*"))


def test_resuming_from_a_checkpoint_trains_the_remaining_epochs(pretrain, tmp_path):
    first = pretrain("mast.yaml", "max_epochs=1")
    assert first.returncode == 0, first.stderr
    checkpoint = next((tmp_path / "trained_models").rglob("*.ckpt"))
    result = pretrain(
        "mast.yaml", "max_epochs=3", f"resume_from_checkpoint='{checkpoint}'", "checkpoint.dir=on"
    )
    assert result.returncode == 0, result.stderr
    resumed = next((tmp_path / "on").rglob("*ep=2.ckpt"))
    assert torch.load(resumed, weights_only=False)["global_step"] == 6


def test_bad_input_gets_one_sentence_and_a_status(pretrain, tmp_path):
    result = pretrain("mast.yaml", "+method_kwargs.maks=none")
    assert result.returncode == 2
    assert result.stderr.startswith("mast-pretrain: method_kwargs.maks is not an option of mast")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method=moco"], "method is 'moco'; the installed solo-learn has"),
        (["backbone.name=resnet19"], "backbone.name is 'resnet19'; the installed solo-learn has"),
        (["data.fraction=0.01"], "a share of 0.01 of "),
        (["method=vicreg"], "is not an option of vicreg; its options are"),
        (["+augmentations.0.zoom={prob: 1}"], "zoom"),
        (["data.train_path=/nowhere"], "/nowhere does not exist"),
        (["optimizer.batch_size=400"], "fewer than one batch"),
        (["evaluation.dataset=/nowhere"], "/nowhere/labels.csv"),
        (["accelerator=gpu", "devices=[7]"], "accelerator=auto devices=auto"),
    ],
)
def test_bad_input_is_refused_before_the_first_step(overrides, sentence, host, small, tmp_path):
    with pytest.raises(MASTError) as caught:
        run_pretraining(small("mast", *overrides))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_rates_are_scaled_by_the_processes_of_every_node(host, small):
    cfg = with_crops(resolve(small("mast", "num_nodes=3")), [32], [2], num_classes=3)
    model = build_model(cfg, host, SimpleNamespace(num_devices=2))
    assert model.lr == pytest.approx(cfg.optimizer.lr * 8 * 2 * 3 / 256)


def test_no_augmentation_type_at_all_is_refused(small):
    cfg = small("mast")
    cfg.augmentations = [{"crop_size": 32, "num_crops": 2}]
    with pytest.raises(MASTError, match="no augmentation type is switched on"):
        run_pretraining(cfg)
