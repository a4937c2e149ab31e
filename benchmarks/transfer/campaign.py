"""A stage is run: one pretraining at a time, scored, and written down at once."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.transfer import measure, record
from benchmarks.transfer.choice import Options, choose
from benchmarks.transfer.stage import Stage
from mast_plugin.comparison.trial import Trial
from mast_plugin.comparison.variant import Variant
from mast_plugin.errors import DivergenceError


class BudgetSpentError(Exception):
    """No run is started any more."""


class Budget:
    """Time in which runs are started; one that has started is finished.

    Args:
        minutes: from now; ``None`` for as long as it takes.
    """

    def __init__(self, minutes: float | None) -> None:
        self._end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    def check(self) -> None:
        """Call before a run.

        Raises:
            BudgetSpentError: the time is over.
        """
        if time.monotonic() > self._end:
            raise BudgetSpentError("the budget is spent: the same command goes on")


@dataclass
class Campaign:
    """A stage under way.

    Args:
        stage: what is run.
        budget: for how long.
        results: folder of the records. One of the same configuration is added to.
    """

    stage: Stage
    budget: Budget
    results: Path

    def __post_init__(self) -> None:
        stage = self.stage
        places = {name: measure.usable(stage.data / name, stage.work) for name in stage.sets}
        self._images: Mapping[str, Path] = places
        self._own = stage.data / stage.own
        measure.check_sets([self._own, *places.values()])
        found = record.read(self._file)
        self._rows: dict[str, dict[str, Any]] = {}
        self._chosen: dict[str, Options] = {}
        if found.get("configuration") == self._configuration:
            self._rows = {self._key(row): row for row in found["runs"]}
            self._chosen = found.get("chosen", {})

    def run(self) -> None:
        """Run what is left, and write what there is after every run.

        Raises:
            BudgetSpentError: before a run that is left.
            MASTError: a run cannot be started, or failed; one that diverges is only recorded.
        """
        if self.stage.options.get("search"):
            self._search()
            return
        trials = {
            (method, seed): self.stage.trial(self.stage.variant(method), seed)
            for seed in self.stage.seeds
            for method in self.stage.methods
        }
        for number, trial in enumerate(trials.values(), 1):
            ended = self._finish(trial, f"run {number} of {len(trials)}")
            self._write(trial, self._scores(trial) if ended else {})

    def _search(self) -> None:
        """Choose the options of every method, with the first seed."""
        (seed, *_), grids = self.stage.seeds, self.stage.study["search"]
        for method in self.stage.methods:

            def score(tried: Options, method: str = method) -> float:
                trial = self.stage.trial(self.stage.variant(method, tried), seed)
                found = -math.inf
                if self._finish(trial, ", ".join(f"{key} {each}" for key, each in tried.items())):
                    found = measure.validation_score(trial, self._own)
                self._write(trial, {"validation": found} if found >= 0 else {})
                return found

            self._chosen[method] = choose(grids[method], score)
            self._write()
            print(f"{method}: {self._chosen[method]}", flush=True)

    def _finish(self, trial: Trial, note: str) -> bool:
        """Pretrain what is left of a run; whether it ended well."""
        if not trial.is_finished:
            self.budget.check()
        try:
            trial.pretrain(note)
        except DivergenceError as error:
            print(error, flush=True)
            return False
        return True

    def _scores(self, trial: Trial) -> dict[str, Any]:
        """What a finished run is worth on every set, and on its own."""
        stage = self.stage
        shares = stage.study["label_shares"]
        print(f"scoring {trial.label}", flush=True)
        found: dict[str, Any] = {
            "own": measure.own_scores(trial, self._own, stage.protocols, shares),
            "validation": measure.validation_score(trial, self._own, measure.OWN, stage.protocols),
            "sets": self._of_sets(trial),
        }
        if "keep_every" in stage.options:
            found["epochs"] = {
                epoch: {
                    "own": measure.set_scores(
                        trial, self._own, measure.OWN, stage.protocols, checkpoint
                    ),
                    "sets": self._of_sets(trial, checkpoint),
                }
                for epoch, checkpoint in _checkpoints(trial.folder).items()
            }
        return found

    def _of_sets(self, trial: Trial, checkpoint: Path | None = None) -> dict[str, measure.Scores]:
        protocols = self.stage.protocols
        return {
            name: measure.set_scores(trial, images, name, protocols, checkpoint)
            for name, images in self._images.items()
        }

    @property
    def _file(self) -> Path:
        return self.results / f"{self.stage.name}.json"

    @property
    def _configuration(self) -> dict[str, Any]:
        """What the runs of a stage have in common."""
        stage = self.stage
        shared = {key: value for key, value in stage.shared.items() if key != "data.train_path"}
        return {
            "pretraining": stage.own,
            "overrides": {**shared, **stage.given},
            "sets": stage.sets,
            "protocols": stage.protocols,
        }

    def _write(self, trial: Trial | None = None, found: Mapping[str, Any] | None = None) -> None:
        """Write the record, with a run that has been scored, or has diverged."""
        content: dict[str, Any] = {"stage": self.stage.name, "configuration": self._configuration}
        content["baselines"] = self.stage.study["baselines"]
        if trial is not None:
            row = {"method": trial.variant.name, "seed": trial.seed}
            row |= {"options": self._own_options(trial.variant)}
            row |= {"minutes": round(trial.cost.get("seconds", 0.0) / 60, 1)}
            row |= found or {"diverged": True}
            self._rows[self._key(row)] = row
            content |= measure.scored_with(trial)
        else:
            content |= {
                key: value
                for key, value in record.read(self._file).items()
                if key in ("versions", "hardware")
            }
        if self._chosen:
            content["chosen"] = self._chosen
        record.write(self._file, {**content, "runs": list(self._rows.values())})

    def _key(self, row: Mapping[str, Any]) -> str:
        """A search has many runs of a method with one seed, a stage one."""
        options = sorted(row["options"].items()) if self.stage.options.get("search") else ""
        return f"{row['method']} {row['seed']} {options}"

    def _own_options(self, variant: Variant) -> Options:
        """A run's overrides beside those of all runs of the stage."""
        common = {**self.stage.shared, **self.stage.given}
        kept = ("name", "seed", "checkpoint.", "auto_resume.", "evaluation.")
        return {
            key: value
            for key, value in variant.overrides.items()
            if not key.startswith(kept) and (key not in common or common[key] != value)
        }


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Every checkpoint that was kept, by its number of epochs."""
    found = {
        int(match.group(1)) + 1: path
        for path in folder.glob("*.ckpt")
        if (match := re.search(r"ep=(\d+)\.ckpt$", path.name))
    }
    return dict(sorted(found.items()))
