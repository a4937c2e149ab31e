"""A network's tasks scored before and after its training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mast_plugin.evaluation.before_after import BeforeAfter, Score, score_tasks
from mast_plugin.evaluation.features.extraction import View
from mast_plugin.evaluation.labels.tasks import TaskTable, read_tasks
from mast_plugin.loading.image import Reading
from mast_plugin.running.run import write_json


@dataclass(frozen=True)
class Scoring:
    """Scores the network that a Trainer trains on the tasks of a dataset, on rank 0.

    Attributes:
        backbone: the network, without projector.
        table: images and labels.
        view: image to tensor.
        reading: how files become images.
        workers: processes that read images.
        trainer: says on which device.
    """

    backbone: Any
    table: TaskTable
    view: View
    reading: Reading
    workers: int
    trainer: Any

    @classmethod
    def open(cls, cfg: DictConfig, trainer: Any, backbone: Any, view: View) -> "Scoring | None":
        """Read the tasks before training, so that a table that does not fit is refused in time.

        Returns:
            ``None`` on other ranks and where ``evaluation`` names no dataset or wants no scores.

        Raises:
            DataError: the table cannot be read or does not match the images.
        """
        wanted = cfg.evaluation.dataset is not None and cfg.evaluation.score
        if not wanted or not trainer.is_global_zero:
            return None
        table = read_tasks(Path(cfg.evaluation.dataset) / "labels.csv")
        return cls(backbone, table, view, Reading.of(cfg.data), cfg.data.num_workers, trainer)

    def scores(self) -> tuple[Score, ...]:
        """Score the network as it is."""
        device = self.trainer.strategy.root_device
        return score_tasks(
            self.backbone,
            self.table,
            self.view,
            reading=self.reading,
            device=device,
            workers=self.workers,
        )

    def compare(self, untrained: tuple[Score, ...], folder: Path) -> BeforeAfter:
        """Score again and write both to ``evaluation.json``."""
        comparison = BeforeAfter(untrained, self.scores())
        write_json(folder / "evaluation.json", comparison.as_dict())
        return comparison
