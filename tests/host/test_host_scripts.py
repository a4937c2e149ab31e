"""solo-learn's own, unmodified scripts on MAST's checkpoints, as far as a CPU lets them.

They are no part of an installation: SOLO_LEARN names a checkout of the main branch.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from mast_plugin.host import host_kind

CHECKOUT = Path(os.environ.get("SOLO_LEARN", "there is none"))
RUNNER = Path(__file__).with_name("host_script.py")

pytestmark = [
    pytest.mark.skipif(host_kind() != "mainline", reason="the release ships no script"),
    pytest.mark.skipif(not (CHECKOUT / "main_knn.py").is_file(), reason="SOLO_LEARN is not set"),
    pytest.mark.slow,
]


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(RUNNER), str(CHECKOUT / script), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def images(image_folder, tmp_path_factory) -> Path:
    """Five classes, as solo-learn's linear training takes the top five."""
    root = tmp_path_factory.mktemp("five")
    for name in ("ant", "bee", "cat"):
        shutil.copytree(image_folder / name, root / name)
    for name in ("dog", "eel"):
        shutil.copytree(image_folder / "ant", root / name)
    return root


@pytest.fixture(scope="module")
def pretrain(images, tmp_path_factory):
    """Two steps under solo-learn's main_pretrain.py; returns its output and its folder."""

    def pretrained(*arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        folder = tmp_path_factory.mktemp("host")
        fixed = [f"data.{split}_path={images}" for split in ("train", "val")]
        fixed += ["devices='1'", "accelerator=cpu", "optimizer.batch_size=8", "max_epochs=1"]
        fixed += ["method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=24"]
        fixed += ["data.num_workers=0", "+limit_train_batches=2", f"checkpoint.dir={folder}/runs"]
        done = run("main_pretrain.py", *arguments, *fixed, cwd=folder)
        assert done.returncode == 0, done.stderr
        (checkpoint,) = folder.rglob("*.ckpt")
        return done, checkpoint.parent

    return pretrained


@pytest.fixture(scope="module")
def under_the_host(pretrain):
    return pretrain("--config-name", "mast", "crop_size=24", "++debug_augmentations=true")


@pytest.fixture(params=["theirs", "ours"])
def folder(request, trained, under_the_host) -> Path:
    """A run of the script, and one of our own command."""
    return trained("mast") if request.param == "ours" else under_the_host[1]


def test_what_is_stored_is_what_was_given(under_the_host):
    stored = json.loads((under_the_host[1] / "args.json").read_text())
    (block,) = stored["augmentations"]
    assert list(block) == [
        *("crop_size", "num_crops", "crop", "horizontal_flip"),
        *("color_jitter", "grayscale", "gaussian_blur"),
    ]
    assert (block["crop_size"], stored["debug_augmentations"]) == (24, True)


def test_the_transform_that_is_printed_is_the_one_in_use(under_the_host):
    assert "RoutedViews" in under_the_host[0].stdout and "24 px: crop(" in under_the_host[0].stdout
    assert "Transforms:" not in under_the_host[0].stdout


def test_knn(folder, images, tmp_path):
    data = ["--dataset", "custom", "--train_data_path", str(images), "--val_data_path", str(images)]
    data += ["--batch_size", "8", "--num_workers", "0", "--k", "5", "--temperature", "0.1"]
    options = ["--feature_type", "backbone", "projector", "--distance_function", "cosine"]
    place = ["--pretrained_checkpoint_dir", str(folder)]
    done = run("main_knn.py", *data, *options, *place, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Result: acc@1=") == 2


@pytest.mark.skipif(not all(map(find_spec, ("umap", "seaborn", "wandb"))), reason="its own needs")
def test_umap(folder, images, tmp_path):
    data = ["--dataset", "custom", "--train_data_path", str(images), "--val_data_path", str(images)]
    place = ["--pretrained_checkpoint_dir", str(folder), "--batch_size", "8", "--num_workers", "0"]
    done = run("main_umap.py", *data, *place, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.pdf"))) == 2


def test_linear(folder, images, tmp_path):
    (checkpoint,) = folder.glob("*.ckpt")
    fixed = [f"data.{split}_path={images}" for split in ("train", "val")]
    fixed += ["data.dataset=custom", "data.format=image_folder", "data.num_workers=0"]
    fixed += ["devices='1'", "accelerator=cpu", "strategy=auto", "precision=32", "max_epochs=1"]
    fixed += ["backbone.name=resnet18", "pretrain_method=mast", "optimizer.batch_size=8"]
    recipe = CHECKOUT / "scripts" / "linear" / "imagenet-100"
    place = ["--config-path", str(recipe), "--config-name", "mocov2plus", "wandb.enabled=false"]
    named = f"pretrained_feature_extractor='{checkpoint}'"
    done = run("main_linear.py", *place, *fixed, named, "+limit_train_batches=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.ckpt"))


def test_the_detectors_weights_are_converted(folder, tmp_path):
    (checkpoint,) = folder.glob("*.ckpt")
    script = "downstream/object_detection/convert_model_to_detectron2.py"
    place = ["--output_detectron_model", str(tmp_path / "model.pkl")]
    done = run(script, "--pretrained_feature_extractor", str(checkpoint), *place, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "res5.1.conv2.weight" in done.stdout


def test_a_vicreg_recipe_with_another_method_trains_mast(pretrain):
    recipe = CHECKOUT / "scripts" / "pretrain" / "cifar"
    place = ["--config-path", str(recipe), "--config-name", "vicreg", "method=mast"]
    changed = ["data.dataset=custom", "strategy=auto", "precision=32", "auto_resume.enabled=false"]
    done, folder = pretrain(
        *place, *changed, "wandb.enabled=false", "method_kwargs.sim_loss_weight=9"
    )
    said = "sim_loss_weight=9 as invariance_weight, var_loss_weight=25.0 as variance_weight"
    assert said in done.stdout
    weights = torch.load(next(folder.glob("*.ckpt")), weights_only=False)["state_dict"]
    assert any(name.startswith("head.") for name in weights)


def test_a_folder_without_a_recipe_of_mast_gets_no_other(tmp_path):
    place = ["--config-path", "scripts/pretrain/cifar", "--config-name", "mast.yaml"]
    done = run("main_pretrain.py", *place, "--cfg", "job", cwd=tmp_path)
    assert done.returncode == 1 and "Cannot find primary config 'mast.yaml'" in done.stderr
    assert "--config-name cifar/mast" in done.stderr
    shown = ["--cfg", "job", "--resolve"]
    done = run("main_pretrain.py", "--config-name", "cifar/mast.yaml", *shown, cwd=tmp_path)
    assert "name: mast-cifar10" in done.stdout, done.stderr


def test_a_configuration_without_views_gets_one_sentence(tmp_path):
    lines = "method: mast\nname: a\ndata: {dataset: cifar10, train_path: x}\n"
    (tmp_path / "mine.yaml").write_text(lines)
    done = run(
        "main_pretrain.py", "--config-path", str(tmp_path), "--config-name", "mine", cwd=tmp_path
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "mast: the configuration has no augmentations: list their blocks" in done.stderr
