"""A loss that is not finite stops the run before anything of it is saved."""

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mast_plugin.errors import DivergenceError
from mast_plugin.pretrain import pretrain
from mast_plugin.running.divergence import divergence_guard

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_pretrain.py"
TERMS = ("invariance", "variance", "covariance", "capacity", "uncertainty")
CHEAP = ("optimizer.name=sgd", "~optimizer.kwargs.fused", "data.check=false")


@pytest.fixture
def run(small):
    def run_small(*overrides: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            pretrain(small("mast", *CHEAP, *overrides))

    return run_small


@pytest.fixture
def spoil(host, monkeypatch):
    """Change what the loss function returns at one step, counted from 1."""

    def at(step: int, change) -> None:
        from mast_plugin import method

        genuine, count = method.mast_loss, 0

        def spoilt(*embeddings, **options):
            nonlocal count
            count += 1
            terms = genuine(*embeddings, **options)
            return change(terms) if count == step else terms

        monkeypatch.setattr(method, "mast_loss", spoilt)

    return at


@pytest.mark.parametrize("term", TERMS)
def test_the_term_that_broke_is_named(term, run, spoil):
    def change(terms):
        value = getattr(terms, term) * math.nan
        return terms._replace(**{term: value, "loss": terms.loss + value})

    spoil(2, change)
    with pytest.raises(DivergenceError) as caught:
        run()
    message = str(caught.value)
    assert f"not finite at step 2 (epoch 0): {term} (nan); lower" in message
    assert "no checkpoint was saved before" in message


def test_the_online_classifier_is_named(run):
    with pytest.raises(DivergenceError, match=r"online classifier \((nan|inf)\); lower optimizer"):
        run("optimizer.classifier_lr=1e38", "max_epochs=4")


def test_the_last_good_checkpoint_is_kept_and_nothing_is_saved_after_it(run, spoil, tmp_path):
    """The numbers are looked at after the epoch's last batch at the latest."""
    spoil(3, lambda terms: terms._replace(loss=terms.loss * math.inf))
    with pytest.raises(DivergenceError) as caught:
        run("max_epochs=2", "checkpoint.frequency=1", "log_every_n_steps=50")
    (kept,) = tmp_path.rglob("*.ckpt")
    assert "at step 3 (epoch 1): total (inf)" in str(caught.value)
    assert str(caught.value).endswith(f"the last good checkpoint is {kept}")
    assert kept.name.endswith("ep=0.ckpt")
    weights = torch.load(kept, weights_only=False)["state_dict"].values()
    assert all(tensor.isfinite().all() for tensor in weights)
    assert json.loads((kept.parent / "divergence.json").read_text())["message"]


def test_weights_that_the_last_step_spoilt_are_not_saved(run, spoil, tmp_path):
    """The root's derivative at zero is infinite, its value is not."""
    spoil(2, lambda terms: terms._replace(loss=terms.loss + (terms.invariance * 0).sqrt()))
    with pytest.raises(DivergenceError, match=r"weights of \S+ are not finite after step 2"):
        run()
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_built_in_method_ends_with_one_sentence_and_status_2(cut_down, tmp_path):
    command = [sys.executable, str(MAIN), "--config-name", "vicreg.yaml", *cut_down]
    result = subprocess.run(
        [*command, "optimizer.lr=1e30", "max_epochs=4", "data.check=false"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("mast-pretrain: the loss is not finite at step ")
    assert "Traceback" not in result.stderr


def test_a_comparison_does_not_train_again_what_diverged(host, tmp_path):
    from mast_plugin.comparison.trial import Trial
    from mast_plugin.comparison.variant import Variant

    trial = Trial(Variant("vicreg", "vicreg", {}), 0, tmp_path, tmp_path, 5, None)
    (tmp_path / "divergence.json").write_text("{}")
    with pytest.raises(DivergenceError, match=r"vicreg, seed 0 diverged .* remove that file"):
        trial.pretrain()


# --- the guard alone -----------------------------------------------------------------------------


def trainer(step: int):
    """What the guard asks of an engine's Trainer."""
    return SimpleNamespace(
        global_step=step,
        current_epoch=0,
        log_every_n_steps=4,
        num_training_batches=10,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
    )


def test_the_first_bad_step_is_named_when_it_is_looked_at_later(host):
    guard, values = divergence_guard(host.engine), [1.0, math.nan, 2.0, math.nan]
    with pytest.raises(DivergenceError, match=r"at step 2 \(epoch 0\): total \(nan\)"):
        for index, value in enumerate(values):
            loss = {"loss": torch.tensor(value)}
            guard.on_train_batch_end(trainer(index + 1), None, loss, None, index)
    assert index == 3


def test_an_epoch_that_ends_early_is_looked_at_before_it_is_saved(host):
    guard = divergence_guard(host.engine)
    guard.on_train_batch_end(trainer(1), None, {"loss": torch.tensor(math.nan)}, None, 0)
    with pytest.raises(DivergenceError, match="at step 1"):
        guard.on_train_epoch_end(trainer(1), torch.nn.Linear(1, 1))


def test_another_processs_trouble_stops_this_one(host):
    guard, place = divergence_guard(host.engine), trainer(4)
    place.strategy.reduce_boolean_decision = lambda decision, all: True
    with pytest.raises(DivergenceError, match="another process diverged in epoch 0"):
        guard.on_train_batch_end(place, None, {"loss": torch.tensor(1.0)}, None, 3)


@pytest.mark.parametrize(
    ("method", "epoch", "stops"),
    [("deepclusterv2", 0, False), ("deepclusterv2", 1, True), ("vicreg", 0, True)],
)
def test_the_loss_of_deepclusterv2s_first_epoch_is_let_pass(method, epoch, stops, host):
    """It has no clusters yet: the mean over nothing is NaN, and its gradient zero."""
    guard, place = divergence_guard(host.engine, method), trainer(4)
    place.current_epoch = epoch
    loss = {"loss": torch.tensor(math.nan)}
    if stops:
        with pytest.raises(DivergenceError, match="not finite at step 4"):
            guard.on_train_batch_end(place, None, loss, None, 3)
    else:
        guard.on_train_batch_end(place, None, loss, None, 3)
        guard.on_train_epoch_end(place, torch.nn.Linear(1, 1))


def test_weights_are_looked_at_in_that_epoch_too(host):
    guard, layer = divergence_guard(host.engine, "deepclusterv2"), torch.nn.Linear(1, 1)
    torch.nn.init.constant_(layer.weight, math.nan)
    with pytest.raises(DivergenceError, match="weights of weight are not finite"):
        guard.on_train_epoch_end(trainer(1), layer)
