"""The short table at the end of a run: every task, before and after pretraining.

Its numbers are those of the protocols ``knn`` and ``linear``: an evaluation of the run's checkpoint
gives the same.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from mast_plugin.errors import DataError
from mast_plugin.evaluation.features.extraction import View, extract_features
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.protocols.linear import linear_measurements
from mast_plugin.evaluation.protocols.neighbour import knn_measurements
from mast_plugin.evaluation.text_table import aligned
from mast_plugin.loading.image import AS_SHOWN, Reading


@dataclass(frozen=True)
class Score:
    """Accuracies of one network on one task, in percent.

    Attributes:
        task: the task's name.
        chance: accuracy of the constant answer.
        knn: top-1, see :func:`~mast_plugin.evaluation.protocols.neighbour.knn_measurements`.
        linear: top-1, see :func:`~mast_plugin.evaluation.protocols.linear.linear_measurements`.
    """

    task: str
    chance: float
    knn: float
    linear: float


@dataclass(frozen=True)
class BeforeAfter:
    """Scores of one network before and after its training, task by task.

    Raises:
        DataError: the two were not scored on the same tasks.
    """

    untrained: tuple[Score, ...]
    trained: tuple[Score, ...]

    def __post_init__(self) -> None:
        if [score.task for score in self.untrained] != [score.task for score in self.trained]:
            raise DataError("Both networks must be scored on the same tasks, in the same order.")

    def __str__(self) -> str:
        """The table as plain text, at most 72 columns wide for short task names."""
        return self.text()

    def text(self, before: str = "untrained") -> str:
        """The same with another word, of up to 9 letters, for the network before its training."""
        arrow = f"{before:>9} -> trained"
        rows = [
            ("", f"{'k-NN, %':^20}", f"{'linear, %':^20}", "chance, %"),
            ("task", arrow, arrow, ""),
        ]
        for first, last in zip(self.untrained, self.trained, strict=True):
            knn, linear = (
                f"{was:9.1f} -> {now:<7.1f}"
                for was, now in ((first.knn, last.knn), (first.linear, last.linear))
            )
            rows.append((last.task, knn, linear, f"{last.chance:.1f}"))
        return "\n".join(line.rstrip() for line in aligned(rows, left=(0,), gap=3))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for a JSON file."""
        return asdict(self)


def score_tasks(
    backbone: nn.Module,
    table: TaskTable,
    view: View,
    *,
    reading: Reading = AS_SHOWN,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> tuple[Score, ...]:
    """Scores a backbone, as it is, on every task of a table.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features.
        table: the images and their tasks.
        view: turns an image into a (3, H, W) tensor, of the same size for every image.
        reading: how files become images.
        batch_size: images per forward pass.
        device: where to run the backbone.
        workers: processes that read images; 0 reads them in this process.

    Returns:
        One score per task, in the order of the table.

    Raises:
        DataError: an image cannot be read, or a class has one training image only.
        HostError: solo-learn is not installed.
    """
    train, val = (
        extract_features(
            backbone,
            files,
            view,
            reading=reading,
            batch_size=batch_size,
            device=device,
            workers=workers,
        )
        for files in (table.train_files, table.val_files)
    )

    def score(task: Task) -> Score:
        split = (task.of_train(train), task.train, task.of_val(val), task.val)
        measured = (knn_measurements, linear_measurements)
        with task.named():
            knn, linear = (measure("backbone", task.name, *split)[0].value for measure in measured)
        return Score(task.name, task.chance, knn, linear)

    return tuple(score(task) for task in table.tasks)
