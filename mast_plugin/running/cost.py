"""What a pretraining takes: seconds and images of every epoch, kept in the run's folder."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.files.storage import whole_file

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
            path, head = folder / _FILE, ",".join(_COLUMNS)
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else [head]
            lines.append(f"{trainer.current_epoch},{seconds:.3f},{images},{views}")
            with whole_file(path) as file:  # on a full disk, a line added might be half a line
                file.write("".join(f"{line}\n" for line in lines).encode())

    return CostRecorder()


def read_cost(folder: Path) -> Mapping[str, float]:
    """What the run in a folder took, over all its sessions; an epoch done again counts once.

    Returns:
        ``seconds`` and ``images`` over all epochs, and ``views`` of an image; empty where nothing
        is recorded.

    Raises:
        DataError: the record cannot be read.
    """
    path = folder / _FILE
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            epochs = {row["epoch"]: row for row in csv.DictReader(file)}.values()
        if not epochs:
            return {}
        totals = {name: sum(float(row[name]) for row in epochs) for name in ("seconds", "images")}
        return {**totals, "views": max(float(row["views"]) for row in epochs)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({first_line(error)}): remove it, and only the cost is lost"
        ) from error
