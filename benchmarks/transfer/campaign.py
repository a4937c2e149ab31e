"""A stage is run: one pretraining at a time, scored, and written down at once."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast_plugin.comparison.cell import Cell

from benchmarks.transfer import measure, record
from benchmarks.transfer.choice import Options, choose
from benchmarks.transfer.stage import Stage
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
        cells = {
            (method, seed): self.stage.cell(self.stage.variant(method), seed)
            for seed in self.stage.seeds
            for method in self.stage.methods
        }
        for number, cell in enumerate(cells.values(), 1):
            ended = self._finish(cell, f"run {number} of {len(cells)}")
            self._write(cell, self._scores(cell) if ended else {})

    def _search(self) -> None:
        """Choose the options of every method, with the first seed."""
        (seed, *_), grids = self.stage.seeds, self.stage.study["search"]
        for method in self.stage.methods:

            def score(tried: Options, method: str = method) -> float:
                cell = self.stage.cell(self.stage.variant(method, tried), seed)
                found = -math.inf
                if self._finish(cell, ", ".join(f"{key} {each}" for key, each in tried.items())):
                    found = measure.validation_score(cell, self._own)
                self._write(cell, {"validation": found} if found >= 0 else {})
                return found

            self._chosen[method] = choose(grids[method], score)
            self._write()
            print(f"{method}: {self._chosen[method]}", flush=True)

    def _finish(self, cell: Cell, note: str) -> bool:
        """Pretrain what is left of a run; whether it ended well."""
        if not cell.is_finished:
            self.budget.check()
        try:
            cell.pretrain(note)
        except DivergenceError as error:
            print(error, flush=True)
            return False
        return True

    def _scores(self, cell: Cell) -> dict[str, Any]:
        """What a finished run is worth on every set, and on its own."""
        stage = self.stage
        shares = stage.study["label_shares"]
        print(f"scoring {cell.label}", flush=True)
        found: dict[str, Any] = {
            "own": measure.own_scores(cell, self._own, stage.protocols, shares),
            "validation": measure.validation_score(cell, self._own, measure.OWN, stage.protocols),
            "sets": self._of_sets(cell),
        }
        if "keep_every" in stage.options:
            found["epochs"] = {
                epoch: {
                    "own": measure.set_scores(
                        cell, self._own, measure.OWN, stage.protocols, checkpoint
                    ),
                    "sets": self._of_sets(cell, checkpoint),
                }
                for epoch, checkpoint in _checkpoints(cell.folder).items()
            }
        return found

    def _of_sets(self, cell: Cell, checkpoint: Path | None = None) -> dict[str, measure.Scores]:
        protocols = self.stage.protocols
        return {
            name: measure.set_scores(cell, images, name, protocols, checkpoint)
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

    def _write(self, cell: Cell | None = None, found: Mapping[str, Any] | None = None) -> None:
        """Write the record, with a run that has been scored, or has diverged."""
        content: dict[str, Any] = {"stage": self.stage.name, "configuration": self._configuration}
        content["baselines"] = self.stage.study["baselines"]
        if cell is not None:
            row = {"method": cell.variant.name, "seed": cell.seed}
            row |= {"options": self._own_options(cell.variant)}
            row |= {"minutes": round(cell.cost.get("seconds", 0.0) / 60, 1)}
            row |= found or {"diverged": True}
            self._rows[self._key(row)] = row
            content |= measure.scored_with(cell)
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
