"""One trial of a comparison: a method with a seed, pretrained only once, and its evaluation."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mast_plugin.comparison.variant import Variant, composed
from mast_plugin.errors import ConfigurationError, DivergenceError
from mast_plugin.evaluation.evaluated import Evaluated, evaluate
from mast_plugin.running.cost import read_cost
from mast_plugin.running.ending import diverged
from mast_plugin.running.ownership import owner_of
from mast_plugin.running.parentage import environment
from mast_plugin.running.run import last_epoch, latest_checkpoint


@dataclass(frozen=True)
class Trial:
    """A run of a comparison.

    Attributes:
        variant: which method, with every override.
        seed: of the pretraining.
        recipes: folder of the recipes.
        folder: of the run itself; it follows from the run's configuration, so that runs that
            differ in anything never share one.
        max_epochs: the epochs of a finished run.
        dataset: what the recipe is scored on, or ``None``.
    """

    variant: Variant
    seed: int
    recipes: Path
    folder: Path
    max_epochs: int
    dataset: str | None

    @classmethod
    def plan(cls, variant: Variant, seed: int, recipes: Path, output: Path) -> "Trial":
        """Compose and check the run, without starting it.

        Raises:
            MASTError: its configuration cannot be had.
        """
        from mast_plugin.pretraining.preparation import planned_run

        kept = {
            "name": variant.name,
            "seed": seed,
            "checkpoint.dir": str((output / "runs").absolute()),
            "checkpoint.frequency": 1,  # an interruption costs an epoch at most
            "auto_resume.enabled": True,
            "evaluation.score": False,  # every network is scored later, under one protocol
        }
        variant = variant.changed(kept)
        cfg = composed(variant, recipes)
        folder = planned_run(cfg).folder
        dataset = OmegaConf.select(cfg, "evaluation.dataset", default=None)
        return cls(variant, seed, recipes, folder, int(cfg.max_epochs), dataset)

    @property
    def label(self) -> str:
        """For messages."""
        return f"{self.variant.name}, seed {self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether the last epoch's checkpoint is there."""
        return last_epoch(self.folder) == self.max_epochs - 1

    def pretrain(self, note: str = "") -> None:
        """Run what is left of the pretraining, in a process of its own, which ends with this one.

        Args:
            note: for the line that says that it starts.

        Raises:
            DivergenceError: its loss was not finite, now or when it was run before.
            ConfigurationError: it failed, or another process is at it.
        """
        if self.is_finished:
            return
        self._refuse_diverged()
        print(f"pretraining {self.label}{note and ': '}{note}", flush=True)
        command = [sys.executable, "-m", "mast_plugin.pretrain"]
        command += ["--config-path", str(self.recipes), "--config-name", self.variant.recipe]
        if owner := owner_of(self.folder):
            raise ConfigurationError(
                f"another process is pretraining {self.label} ({owner}): wait for it, then start "
                "again"
            )
        status = subprocess.run(
            [*command, *self.variant.arguments], check=False, env=environment()
        ).returncode
        self._refuse_diverged()
        if status or not self.is_finished:
            raise ConfigurationError(
                f"the pretraining of {self.label} failed (its own message stands above); what is "
                "finished is kept, so mend it and start the comparison again"
            )

    def _refuse_diverged(self) -> None:
        if diverged(self.folder):
            raise DivergenceError(
                f"the training of {self.label} diverged (divergence.json in {self.folder} says "
                "where): change its options, or remove that file to try again"
            )

    def evaluate(self, options: dict[str, Any]) -> Evaluated:
        """Evaluate the finished run; what was measured before is read again."""
        checkpoint = latest_checkpoint(self.folder)
        assert checkpoint is not None
        given = {"checkpoint": str(checkpoint), **options}
        given["dataset"] = given.get("dataset") or self.dataset
        return evaluate(OmegaConf.create(given))

    @property
    def cost(self) -> Mapping[str, float]:
        """See :func:`~mast_plugin.running.cost.read_cost`."""
        return read_cost(self.folder)
