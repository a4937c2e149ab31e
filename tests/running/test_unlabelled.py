"""Runs without labels say whether the embedding collapses, and nothing of accuracies."""

import csv
import warnings

import pytest
import torch
from torch import nn

from mast_plugin.evaluation.protocols.labelfree import feature_std, rankme
from mast_plugin.host.unlabelled import withhold_accuracies
from mast_plugin.pretrain import pretrain
from mast_plugin.pretraining.collapse import IMAGES, SPREAD, embedding_meter
from mast_plugin.report.curve import read_curves

METHODS = {
    "mast": "mast",
    "vicreg": "vicreg",
    "simclr": "simclr",
    "byol": "vicreg method=byol +method_kwargs.pred_hidden_dim=16",
    "nnclr": "vicreg method=nnclr +method_kwargs.pred_hidden_dim=16 +method_kwargs.queue_size=32 "
    "+method_kwargs.temperature=0.2",
    "simsiam": "vicreg method=simsiam +method_kwargs.pred_hidden_dim=16",
}


@pytest.fixture
def run(small, host):
    def run_small(options: str, *overrides: str):
        name, *given = options.split()
        fixed = ("optimizer.name=sgd", "~optimizer.kwargs.fused", "data.check=false")
        fixed = (*fixed, "checkpoint.enabled=false", "max_epochs=2")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            return pretrain(small(name, *fixed, *given, *overrides))

    return run_small


def logged(folder) -> dict[str, list[float]]:
    """Every column of the metrics that has values."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = {name: [float(row[name]) for row in rows if row[name]] for name in rows[0]}
    return {name: values for name, values in columns.items() if values}


@pytest.mark.parametrize("method", METHODS)
def test_no_accuracy_is_logged_or_printed_but_the_embeddings_spread(run, method):
    result = run(METHODS[method], "data.no_labels=true")
    found = logged(result.folder)
    assert not [name for name in found if "acc" in name or "class_loss" in name]
    assert all(len(found[name]) == 2 for name in SPREAD)
    assert 0 < found["embedding_std"][-1] <= 1
    assert 1 < found["embedding_rankme"][-1] <= 16  # two steps of eight images
    printed = str(result)
    assert "acc1" not in printed
    assert [line.partition(":")[0] for line in printed.splitlines() if ": " in line] == list(SPREAD)
    assert {"embedding_std", "embedding_rankme"} <= set(read_curves(result.folder).terms)


def test_the_loss_is_the_methods_own(run):
    found = logged(run("vicreg", "data.no_labels=true", "accumulate_grad_batches=2").folder)
    assert found["train_loss"] == pytest.approx(found["train_vicreg_loss_epoch"], rel=1e-5)


def test_with_labels_everything_is_logged_but_what_is_always_right(run):
    found = logged(run("vicreg").folder)
    assert "train_acc1_epoch" in found and "train_class_loss_epoch" in found
    assert not [name for name in found if "acc5" in name]  # of three classes
    assert not set(SPREAD) & set(found)


def test_each_number_is_printed_once(run):
    printed = str(run("vicreg")).splitlines()
    assert len([line for line in printed if line.startswith("train_acc1")]) == 1


def test_what_is_withheld_is_only_what_cannot_tell():
    class Model:
        def __init__(self) -> None:
            self.logged = []

        def log(self, name, value, **_):
            self.logged.append(name)

    class Cfg:
        class data:  # noqa: N801
            no_labels, num_classes = False, 6

    model = Model()
    withhold_accuracies(model, Cfg)
    for name in ("train_acc1", "train_acc5", "train_class_loss"):
        model.log(name, torch.zeros(()), on_epoch=True)
    assert model.logged == ["train_acc1", "train_acc5", "train_class_loss"]


def test_the_last_images_first_views_are_measured(host):
    """In steps of 300 images: the last 1,024 of 1,500, of which each has two views."""
    part, log = nn.Linear(4, 3), {}

    class Trainer:
        accumulate_grad_batches = 1

    class Module:
        def log_dict(self, values, **_):
            log.update(values)

    meter = embedding_meter(host.engine, part, {})
    meter.on_train_start()
    generator, first = torch.Generator().manual_seed(0), []
    for number in range(5):
        meter.on_train_batch_start()
        first.append(torch.randn(300, 4, generator=generator) + 1)
        part(first[-1])
        part(torch.zeros(300, 4))
        outputs = {"loss": torch.tensor(float(number))}
        meter.on_train_batch_end(Trainer, Module, outputs)
    meter.on_train_epoch_end(Trainer, Module())
    meter.teardown()
    expected = part(torch.cat(first)[-IMAGES:]).detach()
    assert log["embedding_std"] == pytest.approx(feature_std(expected), rel=1e-5)
    assert log["embedding_rankme"] == pytest.approx(rankme(expected), rel=1e-5)
    assert log["train_loss"] == 2.0
