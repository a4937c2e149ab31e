"""What a pretraining takes: seconds and images of every epoch, kept in the run's folder."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

_FILE = "cost.csv"
_COLUMNS = ("epoch", "seconds", "images", "views")


def recorder(engine: ModuleType, folder: Path, *, batch_size: int, views: int) -> Any:
    """A callback that writes a line after every epoch, on rank 0.

    Args:
        engine: whose ``Callback`` it is.
        folder: of the run.
        batch_size: of one process.
        views: of an image.
    """

    class CostRecorder(engine.Callback):  # type: ignore[misc, name-defined]
        def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
            self.start = time.perf_counter()

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            if not trainer.is_global_zero:
                return
            seconds = time.perf_counter() - self.start
            images = int(trainer.num_training_batches) * batch_size * trainer.world_size
            folder.mkdir(parents=True, exist_ok=True)
            is_new = not (folder / _FILE).exists()
            with (folder / _FILE).open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if is_new:
                    writer.writerow(_COLUMNS)
                writer.writerow([trainer.current_epoch, f"{seconds:.3f}", images, views])

    return CostRecorder()


def read_cost(folder: Path) -> Mapping[str, float]:
    """What the run in a folder took, over all its sessions; an epoch done again counts once.

    Returns:
        ``seconds`` and ``images`` over all epochs, and ``views`` of an image; empty where nothing
        is recorded.
    """
    path = folder / _FILE
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        epochs = {row["epoch"]: row for row in csv.DictReader(file)}.values()
    if not epochs:
        return {}
    totals = {name: sum(float(row[name]) for row in epochs) for name in ("seconds", "images")}
    return {**totals, "views": max(float(row["views"]) for row in epochs)}
