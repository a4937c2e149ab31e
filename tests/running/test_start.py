"""``init_from``: a backbone that starts from weights that exist, all of them or none."""

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from mast_plugin.errors import ConfigurationError
from mast_plugin.pretrain import pretrain

pytestmark = pytest.mark.slow

STILL = (
    "optimizer.name=sgd",
    "~optimizer.kwargs.fused",
    "optimizer.lr=1e-12",
    "scheduler.name=none",
    "data.check=false",
)


@pytest.fixture
def started(small):
    """Train for two steps that move nothing, and return the run's folder."""

    def run(path: Path | str, *overrides: str, name: str = "vicreg") -> Path:
        cfg = small(name, *STILL, *overrides)
        cfg.init_from = str(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            return pretrain(cfg).folder

    return run


def parameters_of(folder: Path, *prefixes: str) -> dict[str, torch.Tensor]:
    """Those of a run's backbone; statistics of normalisation move with the images."""
    (checkpoint,) = folder.glob("*.ckpt")
    state = torch.load(checkpoint, weights_only=False)["state_dict"]
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        for prefix in prefixes or ("backbone.", "encoder.")
        if name.startswith(prefix) and name.endswith((".weight", ".bias"))
    }


def same(found: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> bool:
    return bool(found) and all(
        torch.allclose(value, given[name], atol=1e-5) for name, value in found.items()
    )


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    return resnet18().state_dict()


@pytest.mark.parametrize("form", ["pth", "safetensors", "without counters"])
@pytest.mark.parametrize("name", ["mast", "vicreg"])
def test_a_state_dict_of_torchvision(name, form, weights, started, tmp_path, capsys):
    path = tmp_path / f"start.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file(weights, path)
    elif form == "pth":
        torch.save(weights, path)
    else:  # as torch before 0.4.1 wrote them
        torch.save({k: v for k, v in weights.items() if "num_batches" not in k}, path)
    folder = started(path, name=name)
    assert same(parameters_of(folder), weights)
    args = json.loads((folder / "args.json").read_text())
    assert args["init_from"] == str(path)
    assert args["init_from_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    out = capsys.readouterr().out
    assert f"starts from {path}" in out and "left out: fc.bias, fc.weight" in out


@pytest.mark.parametrize("named", ["backbone.", "encoder."])
def test_a_checkpoint_of_either_host(named, weights, started, tmp_path, capsys):
    state = {f"{named}{k}": v for k, v in weights.items() if not k.startswith("fc.")}
    state |= {"projector.0.weight": torch.zeros(2, 2), f"momentum_{named}x": torch.zeros(1)}
    torch.save({"state_dict": state}, tmp_path / "run.ckpt")
    assert same(parameters_of(started(tmp_path / "run.ckpt")), weights)
    assert "left out: projector" in capsys.readouterr().out


def test_a_run_of_another_method(trained, started):
    (checkpoint,) = trained("mast").glob("*.ckpt")
    assert same(parameters_of(started(checkpoint)), parameters_of(checkpoint.parent))


def test_a_momentum_network_starts_there_too(weights, started, tmp_path):
    torch.save(weights, tmp_path / "start.pth")
    folder = started(tmp_path / "start.pth", "method=byol", "+method_kwargs.pred_hidden_dim=8")
    assert same(parameters_of(folder, "momentum_backbone.", "momentum_encoder."), weights)


def test_the_stem_is_the_files_where_it_is_left_open(weights, started, tmp_path):
    torch.save(weights, tmp_path / "start.pth")
    folder = started(tmp_path / "start.pth", "backbone.stem=auto")
    assert json.loads((folder / "args.json").read_text())["backbone"]["stem"] == "imagenet"


def test_a_resumed_run_goes_on_from_its_checkpoint(weights, started, tmp_path, capsys):
    torch.save(weights, tmp_path / "start.pth")
    (checkpoint,) = started(tmp_path / "start.pth", "auto_resume.enabled=true").glob("*.ckpt")
    capsys.readouterr()
    started(tmp_path / "start.pth", f"resume_from_checkpoint='{checkpoint}'", "max_epochs=2")
    assert "starts from" not in capsys.readouterr().out


def changed(weights, **changes):
    return {k: v for k, v in {**weights, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer4.1.conv2.weight": None}, "missing layer4.1.conv2.weight"),
        ({"layer1.0.bn1.running_var": None}, "missing layer1.0.bn1.running_var"),
        ({"layer5.weight": torch.zeros(2)}, "unexpected layer5.weight"),
        ({"bn1.weight": torch.zeros(3)}, r"misshapen bn1.weight \(3, not 64\)"),
        ({"conv1.weight": torch.zeros(64, 3, 3, 3)}, "misshapen conv1.weight"),
    ],
)
def test_an_unfit_file_is_refused_before_training(changes, sentence, weights, started, tmp_path):
    torch.save(changed(weights, **changes), tmp_path / "start.pth")
    with pytest.raises(ConfigurationError, match=f"init_from=.*start.pth does not fit: {sentence}"):
        started(tmp_path / "start.pth")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_weights_that_are_not_finite_are_refused_before_training(weights, started, tmp_path):
    spoilt = weights["bn1.bias"].clone()
    spoilt[3] = torch.nan
    torch.save(changed(weights, **{"bn1.bias": spoilt}), tmp_path / "start.pth")
    with pytest.raises(ConfigurationError, match=r"start.pth holds numbers .* in bn1.bias"):
        started(tmp_path / "start.pth")


def test_scores_from_before_are_those_of_the_given_weights(weights, small, labelled, tmp_path):
    """Also where an interrupted run goes on, whose network is then filled from its checkpoint."""
    torch.save(weights, tmp_path / "start.pth")
    scored = (f"evaluation.dataset='{labelled}'", "evaluation.score=true")

    def run(*overrides):
        cfg = small("vicreg", *STILL, *scored, *overrides)
        cfg.init_from = str(tmp_path / "start.pth")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            return pretrain(cfg)

    first = run()
    (checkpoint,) = first.folder.glob("*.ckpt")
    second = run(f"resume_from_checkpoint='{checkpoint}'", "max_epochs=2")
    assert second.comparison.untrained == first.comparison.untrained
    assert "init_from -> trained" in str(first) and "untrained" not in str(first)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "does not exist"), (b"PK nothing", "is no checkpoint")]
)
def test_a_file_that_cannot_be_read_is_refused(content, sentence, started, tmp_path):
    path = tmp_path / "start.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"init_from cannot be used: .*{sentence}"):
        started(path)


def test_other_weights_are_another_run_and_another_place_is_not(weights, small, tmp_path):
    from mast_plugin.pretraining.preparation import planned_run

    folders = []
    torch.save(weights, tmp_path / "a.pth")
    shutil.copy(tmp_path / "a.pth", tmp_path / "b.pth")
    torch.save(changed(weights, **{"bn1.bias": torch.ones(64)}), tmp_path / "c.pth")
    for name in ("a.pth", "b.pth", "c.pth"):
        cfg = small("vicreg")
        cfg.init_from = str(tmp_path / name)
        folders.append(planned_run(cfg).folder)
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize(
    "option", ["resume_from_checkpoint", "+backbone.kwargs.pretrained", "+backbone.weights"]
)
def test_what_cannot_load_them_says_what_can(option, weights, small, tmp_path):
    torch.save(weights, tmp_path / "start.pth")
    value = f"'{tmp_path / 'start.pth'}'"
    with pytest.raises(ConfigurationError, match=r"init_from="):
        pretrain(small("vicreg", *STILL, f"{option}={value}"))
