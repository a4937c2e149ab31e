"""Runs that go on with another end, batch size or schedule than they began with."""

import csv
import math
import warnings
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mast_plugin.errors import ConfigurationError
from mast_plugin.host.schedule import refuse_misfit
from mast_plugin.pretrain import pretrain

FIXED = ("optimizer.name=sgd", "~optimizer.kwargs.fused", "data.check=false")
FIXED += ("scheduler.warmup_epochs=1", "checkpoint.keep_prev=true")


@pytest.fixture
def run(small, host):
    def run_small(*overrides: str) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            return pretrain(small("vicreg", *FIXED, *overrides)).folder

    return run_small


def rates(folder: Path) -> list[float]:
    """Of the backbone at the start of every epoch."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    (column,) = {name for name in rows[0] if name.endswith(("/encoder", "/backbone"))}
    return [float(row[column]) for row in rows if row[column]]


def curve(place: float, warm: float, end: float) -> float:
    """The height of a cosine from one to zero."""
    return (1 + math.cos(math.pi * (place - warm) / (end - warm))) / 2


def after(folder: Path, epoch: int) -> str:
    (path,) = folder.glob(f"*ep={epoch}.ckpt")
    return f"resume_from_checkpoint='{path}'"


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_later_end_stretches_the_schedule_from_the_rate_it_is_at(run, interval, capfd):
    given = f"scheduler.interval={interval}"
    whole = run(given, "max_epochs=6")
    before = rates(whole)
    longer = run(given, "max_epochs=9", after(whole, 2))
    found = rates(longer)
    assert len(found) == 6
    assert found[0] == pytest.approx(before[3])  # where it was
    expected = [before[3] * curve(e, 1, 9) / curve(3, 1, 9) for e in range(3, 9)]
    assert found == pytest.approx(expected)
    assert "is stretched: from the rate" in capfd.readouterr().err
    # And what went on can go on once more.
    assert rates(run(given, "max_epochs=9", after(longer, 5))) == pytest.approx(found[3:])


def test_a_run_that_is_over_takes_its_place_on_the_longer_curve(run):
    """From nothing the rest of a curve would be nothing; the rate falls from there."""
    whole = run("max_epochs=2")
    longer = run("max_epochs=6", after(whole, 1))
    found, peak = rates(longer), rates(whole)[1]
    assert found == pytest.approx([peak * curve(epoch, 1, 6) for epoch in range(2, 6)])


def test_a_run_in_its_warm_up_takes_the_new_one(run):
    whole = run("max_epochs=6", "scheduler.warmup_epochs=2", "limit_train_batches=3")
    given = ("max_epochs=6", "scheduler.warmup_epochs=4", "limit_train_batches=3")
    found = rates(run(*given, after(whole, 0)))
    assert found == pytest.approx(rates(run(*given))[1:])


def test_another_batch_size_keeps_the_end_and_the_rate_for_256_images(run):
    few = ("limit_train_batches=1.0", "max_epochs=6")
    whole = run(*few, "optimizer.batch_size=8")  # three steps an epoch
    other = run(*few, "optimizer.batch_size=12", after(whole, 2))  # two
    expected = [rate * 12 / 8 for rate in rates(whole)[3:]]
    assert rates(other) == pytest.approx(expected)
    (last,) = other.glob("*ep=5.ckpt")
    state = torch.load(last, weights_only=False)["lr_schedulers"][0]
    assert state["last_epoch"] == state["max_epochs"] == 12
    assert state["_last_lr"][0] == pytest.approx(0, abs=1e-9)


def test_steps_of_a_step_schedule_are_those_of_the_run_that_goes_on(run):
    given = ("scheduler.name=step", "scheduler.lr_decay_steps=[1,3]", "max_epochs=5")
    found = rates(run(*given))
    assert found == pytest.approx([found[0] * share for share in (1, 0.1, 0.1, 0.01, 0.01)])
    other = (given[0], "scheduler.lr_decay_steps=[1,4]", given[2])
    whole = run(*given, "seed=6")
    again = rates(run(*other, "seed=6", after(whole, 1)))
    assert again == pytest.approx([found[1], found[1], found[1] / 10])


def test_momentum_reaches_its_end_at_the_new_end(run):
    given = ("method=byol", "+method_kwargs.pred_hidden_dim=16", "limit_train_batches=1.0")
    given += ("max_epochs=4",)
    whole = run(*given, "optimizer.batch_size=12")  # two steps an epoch
    other = run(*given, "optimizer.batch_size=8", after(whole, 1))  # three
    (last,) = other.glob("*ep=3.ckpt")
    assert torch.load(last, weights_only=False)["momentum_tau"] == pytest.approx(1.0, abs=1e-4)


def test_what_cannot_go_on_is_refused_with_the_mend(run):
    whole = run("max_epochs=2", "scheduler.warmup_epochs=0")
    for overrides, message in (
        (["max_epochs=2"], "has 2 trained epochs, and max_epochs=2 leaves none"),
        (["max_epochs=6", "scheduler.name=none"], "trained with scheduler.name=warmup_cosine"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            run(*overrides, "scheduler.warmup_epochs=0", after(whole, 1))
    assert len(list(whole.parent.iterdir())) == 1  # nothing was begun


@pytest.mark.parametrize("change", [{"_last_lr": None}, {"base_lrs": [1.0]}, {"last_epoch": "x"}])
def test_a_damaged_schedule_is_refused(change):
    state = {"last_epoch": 4, "warmup_epochs": 1, "eta_min": 0.0, "max_epochs": 8}
    state |= {"_last_lr": [0.1, 0.1], "base_lrs": [0.2, 0.2]}
    cfg = OmegaConf.create({"max_epochs": 9, "scheduler": {"name": "warmup_cosine"}})
    cfg.resume_from_checkpoint = "a.ckpt"
    checkpoint = {"epoch": 1, "global_step": 4, "lr_schedulers": [state]}
    refuse_misfit(checkpoint, Path("a.ckpt"), cfg)
    state |= change
    with pytest.raises(ConfigurationError, match=r"no run can go on from a\.ckpt, whose schedule"):
        refuse_misfit(checkpoint, Path("a.ckpt"), cfg)


def test_a_schedule_without_a_course_goes_on(run):
    whole = run("max_epochs=1", "scheduler.name=none")
    found = rates(run("max_epochs=2", "scheduler.name=none", after(whole, 0)))
    assert found == rates(whole)
