"""A stage of the transfer study that is stopped, goes on, and keeps what it found."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.transfer import campaign, measure, record
from benchmarks.transfer.campaign import Budget, BudgetSpentError, Campaign
from benchmarks.transfer.stage import Stage, read_study
from mast_plugin.errors import DivergenceError

STUDY = {**read_study(), "search": {"vicreg": {"optimizer.lr": [1, 2, 3]}, "simclr": {"a": [5]}}}


@dataclass
class FakeCell:
    """A run that is finished once it was pretrained; a rate of 3 diverges."""

    variant: object
    seed: int
    folder: Path = Path("nowhere")
    cost: dict = field(default_factory=lambda: {"seconds": 90.0})
    done: set = field(default_factory=set)

    @property
    def label(self):
        return f"{self.variant.name} {self.seed} {self.variant.overrides.get('optimizer.lr')}"

    @property
    def is_finished(self):
        return self.label in self.done

    def pretrain(self, note):
        if self.variant.overrides.get("optimizer.lr") == 3:
            raise DivergenceError("it diverged")
        self.done.add(self.label)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Make a campaign of a stage, whose runs take no time."""
    done = set()
    monkeypatch.setattr(Stage, "trial", lambda _, variant, seed: FakeCell(variant, seed, done=done))
    monkeypatch.setattr(measure, "check_sets", lambda _: None)
    monkeypatch.setattr(measure, "scored_with", lambda _: {"versions": {"torch": "x"}})
    monkeypatch.setattr(measure, "own_scores", lambda *_: {"class": {"linear": 1.0}})
    monkeypatch.setattr(measure, "set_scores", lambda *_: {"class": {"linear": 2.0}})
    rates = {1: 10.0, 2: 30.0}
    monkeypatch.setattr(
        measure,
        "validation_score",
        lambda trial, *_: rates.get(trial.variant.overrides.get("optimizer.lr"), 20.0),
    )

    def make(name, methods, seeds=(0,), budget=None, **given):
        stage = Stage(name, STUDY, tmp_path, tmp_path, list(seeds), methods, ["dtd10"], given)
        return Campaign(stage, Budget(budget), tmp_path / "results")

    make.done, make.results = done, tmp_path / "results"
    return make


def rows(made, name="prototype"):
    found = record.read(made.results / f"{name}.json").get("runs", [])
    return [(run["method"], run["seed"]) for run in found]


def test_every_run_is_recorded_as_soon_as_it_is_scored(made, monkeypatch):
    written = []
    original = record.write
    monkeypatch.setattr(
        campaign.record, "write", lambda path, each: (original(path, each), written.append(each))
    )
    made("prototype", ["vicreg", "mast"], seeds=[0, 1]).run()
    assert [len(each["runs"]) for each in written] == [1, 2, 3, 4]
    assert rows(made) == [("vicreg", 0), ("mast", 0), ("vicreg", 1), ("mast", 1)]
    (run, *_) = written[0]["runs"]
    assert run["sets"] == {"dtd10": {"class": {"linear": 2.0}}} and run["minutes"] == 1.5
    assert run["options"] == {"method_kwargs.sim_loss_weight": 10.0}
    assert not any("train_path" in key for key in written[0]["configuration"]["overrides"])


def test_no_run_starts_once_the_budget_is_spent_and_finished_ones_need_none(made):
    with pytest.raises(BudgetSpentError, match="the same command goes on"):
        made("prototype", ["vicreg"], budget=-1.0).run()
    assert rows(made) == []
    made("prototype", ["vicreg"]).run()
    with pytest.raises(BudgetSpentError):
        made("prototype", ["vicreg", "mast"], budget=-1.0).run()
    assert rows(made) == [("vicreg", 0)]


def test_a_record_is_added_to_unless_it_is_of_another_configuration(made):
    made("prototype", ["vicreg"]).run()
    made("prototype", ["mast"]).run()
    assert rows(made) == [("vicreg", 0), ("mast", 0)]
    made("prototype", ["mast"], max_epochs=1).run()
    assert rows(made) == [("mast", 0)]


def test_a_run_that_diverges_is_recorded_and_the_others_go_on(made):
    made("prototype", ["vicreg"], **{"optimizer.lr": 3}).run()
    (run,) = record.read(made.results / "prototype.json")["runs"]
    assert run["diverged"] and "sets" not in run


def test_a_search_chooses_by_validation_and_its_stage_takes_it(made):
    made("search", ["vicreg", "simclr"]).run()
    found = record.read(made.results / "search.json")
    assert found["chosen"] == {"vicreg": {"optimizer.lr": 2}, "simclr": {"a": 5}}
    assert [run.get("validation") for run in found["runs"]] == [10.0, 30.0, None, 20.0]
    assert found["runs"][2]["diverged"] and found["versions"] == {"torch": "x"}
    stage = Stage("main", STUDY, Path(), Path(), [0], [], [], {}, found["chosen"])
    assert stage.variant("vicreg").overrides["optimizer.lr"] == 2
