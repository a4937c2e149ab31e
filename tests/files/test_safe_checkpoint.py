"""Checkpoints that somebody else wrote: nothing in them runs, on any path that reads one."""

import os
import pickle
import warnings
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from mast_plugin import pretrain as pretraining
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.evaluation.network.weight_file import read_weights
from mast_plugin.host.checkpoint import streaming_io
from mast_plugin.pretraining.preparation import planned_run
from mast_plugin.running.resumption import read_checkpoint

from ..hostile.file import Malice
from ..hostile.material import arguments, whole_checkpoint

SIMSIAM = ("vicreg", "method=simsiam", "+method_kwargs.pred_hidden_dim=16")
CHANGES = ("max_epochs=2", "optimizer.name=sgd", "~optimizer.kwargs.fused")
"""Of a run that goes on with what the fixture trained."""


@pytest.fixture(params=["torch's default", "told to trust everything"])
def witness(request, tmp_path, monkeypatch) -> Path:
    """What a malicious file would write, were it run; whatever torch is told by its environment."""
    if request.param == "told to trust everything":
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    return tmp_path / "witness"


def malicious(path: Path, witness: Path, save=torch.save) -> Path:
    content = whole_checkpoint({"a": torch.zeros(2)})
    content["callbacks"] = Malice(os.system, f"touch {witness}")
    with path.open("wb") as file:
        save(content, file)
    return path


def pretrain(cfg: DictConfig) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        return pretraining.pretrain(cfg).folder


def checkpoint_of(folder: Path) -> Path:
    (path,) = folder.glob("*.ckpt")
    return path


def refused(match: str):
    return pytest.raises(ConfigurationError, match=match)


def test_a_file_that_is_as_dangerous_as_it_looks(tmp_path):
    """Or the tests below would show nothing."""
    path = malicious(tmp_path / "bad.ckpt", tmp_path / "witness")
    torch.load(path, weights_only=False)
    assert (tmp_path / "witness").exists()


@pytest.mark.parametrize("save", [torch.save, lambda content, file: pickle.dump(content, file)])
@pytest.mark.parametrize("read", [read_weights, read_checkpoint, open_network])
def test_it_is_refused_by_whatever_reads_it(read, save, witness, tmp_path):
    path = malicious(tmp_path / "bad.ckpt", witness, save)
    with refused("was not loaded: it refers to .*system|is no checkpoint"):
        read(path)
    assert not witness.exists()


def test_it_is_refused_by_the_engines_own_reading(host, witness, tmp_path):
    """Which also takes up what SLURM left behind, without being told to resume."""
    path = malicious(tmp_path / "hpc_ckpt_1.ckpt", witness)
    with refused("was not loaded"):
        streaming_io(host.engine).load_checkpoint(path)
    assert not witness.exists()


def test_no_run_resumes_from_it(small, host, witness, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "build_trainer", lambda *_: pytest.fail("the run was set up"))
    path = malicious(tmp_path / "bad.ckpt", witness)
    with refused("was not loaded") as caught:
        pretrain(small("mast", f"resume_from_checkpoint='{path}'"))
    assert "\n" not in str(caught.value)
    assert not witness.exists()
    assert not (tmp_path / "runs").exists()


def test_no_run_takes_it_up_as_its_own(small, host, witness):
    cfg = small("mast", "auto_resume.enabled=true", "max_epochs=2")
    folder = planned_run(cfg).folder
    folder.mkdir(parents=True)
    malicious(folder / "mast-ep=0.ckpt", witness)
    with refused("was not loaded"):
        pretrain(cfg)
    assert not witness.exists()


# --- our own are read as they are ----------------------------------------------------------------


def same(found, expected) -> bool:
    if isinstance(expected, Tensor):
        return found.dtype == expected.dtype and torch.equal(found, expected)
    if isinstance(expected, dict):
        keys = expected.keys() == found.keys()
        return keys and all(same(found[key], value) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and found == expected


def test_a_runs_own_checkpoint_is_read_bit_by_bit(trained):
    path = checkpoint_of(trained("mast"))
    assert same(read_checkpoint(path), torch.load(path, weights_only=False))


def of_the_hosts_own_script(path: Path, place: Path) -> Path:
    """The checkpoint with what both hosts put into a schedule with a rate that stands still."""
    from solo.methods.base import static_lr

    content = torch.load(path, weights_only=False)
    parameter = torch.zeros(1, requires_grad=True)
    schedule = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([parameter], lr=0.1), 1)
    content["lr_schedulers"][0]["get_lr"] = partial(static_lr, schedule.get_lr, [3], [0.1])
    torch.save(content, place / "host.ckpt")
    return place / "host.ckpt"


def test_functions_in_a_schedule_are_left_out_and_nothing_else(trained, tmp_path):
    path = of_the_hosts_own_script(checkpoint_of(trained(*SIMSIAM)), tmp_path)
    expected = torch.load(path, weights_only=False)
    assert callable(expected["lr_schedulers"][0].pop("get_lr"))
    assert same(read_checkpoint(path), expected)


def test_a_run_with_functions_in_its_schedule_goes_on(trained, small, host, tmp_path):
    """By itself either engine fails on such a file; the rate that stands still goes on doing so."""
    path = of_the_hosts_own_script(checkpoint_of(trained(*SIMSIAM)), tmp_path)
    cfg = small(*SIMSIAM, *CHANGES, f"resume_from_checkpoint='{path}'", "data.check=false")
    state = read_checkpoint(checkpoint_of(pretrain(cfg)))
    before = read_checkpoint(path)
    assert state["global_step"] == 2 * before["global_step"]
    rates = [group["lr"] for group in state["optimizer_states"][0]["param_groups"]]
    assert rates[3] == before["optimizer_states"][0]["param_groups"][3]["lr"] != rates[0]


# --- what no run can go on from -------------------------------------------------------------------


@pytest.mark.parametrize("part", ["optimizer_states", "loops", "pytorch-lightning_version"])
def test_what_lacks_a_part_is_refused_by_its_name(part, tmp_path):
    content = whole_checkpoint({"a": torch.zeros(2)})
    del content[part]
    torch.save(content, tmp_path / "part.ckpt")
    with refused(f"no run can go on from .*part.ckpt, which has no {part}"):
        read_checkpoint(tmp_path / "part.ckpt")


def test_what_fails_later_is_not_laid_to_the_checkpoint(trained, small, host, monkeypatch):
    """A resumed run that cannot save has taken its checkpoint over before."""

    def fail(*_):
        raise ValueError("nothing of this can be saved")

    path = checkpoint_of(trained("mast"))
    monkeypatch.setattr(host.METHODS["mast"], "on_save_checkpoint", fail)
    with pytest.raises(ValueError, match=r"^nothing of this"):
        pretrain(small("mast", *CHANGES, f"resume_from_checkpoint='{path}'"))


def test_a_checkpoint_of_another_network_is_refused_in_one_sentence(trained, small, host):
    path = checkpoint_of(trained("vicreg"))
    with refused("this run cannot go on from .*of the same network") as caught:
        options = (f"resume_from_checkpoint='{path}'", "data.check=false", "max_epochs=2")
        pretrain(small("mast", *options))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_inflates_is_refused(tmp_path):
    """torch reads compressed archives, too: 60 KB can become any number of GB."""
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in whole.infolist():
            bomb.writestr(member.filename, whole.read(member))
    with refused("unpacks to 4,00.* bytes"):
        read_weights(tmp_path / "bomb.pth")


def test_a_configuration_that_multiplies_is_refused(tmp_path):
    nested: list = []
    for _ in range(35):
        nested = [nested, nested]
    content = {"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": {"backbone": nested}}
    torch.save(content, tmp_path / "bomb.ckpt")
    with refused("a configuration .*hyper_parameters.* more than 20,000 values"):
        read_weights(tmp_path / "bomb.ckpt")


def test_a_torch_that_could_be_tricked_is_refused(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    monkeypatch.delattr(torch.serialization, "get_unsafe_globals_in_checkpoint")
    with refused("install torch 2.6 or later"):
        read_weights(tmp_path / "a.pth")


# --- files that a builder would load --------------------------------------------------------------


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg", "weights"])
def test_a_recipe_cannot_have_the_builder_load_weights(option, small, host):
    with refused(f"backbone.kwargs.{option} would have the network's builder load"):
        planned_run(small("mast", f"+backbone.kwargs.{option}=bad.pth"))


def test_the_configuration_beside_weights_cannot_either(host, tmp_path, witness):
    from mast_plugin.evaluation.network.recipe import complete

    malicious(tmp_path / "bad.pth", witness)
    kwargs = {"checkpoint_path": str(tmp_path / "bad.pth"), "pretrained": True, "zero_init": 1}
    configuration = arguments() | {"backbone": {"name": "resnet18", "kwargs": kwargs}}
    assert complete(configuration, 1).backbone.kwargs == {"zero_init": 1}
