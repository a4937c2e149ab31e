"""The labelled images of an evaluation: a table of tasks, or plain folders of classes."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mast_plugin.errors import DataError
from mast_plugin.evaluation.tasks import SPLITS, Task, TaskTable, read_tasks
from mast_plugin.image import is_image


def read_labelled(folder: Path, tasks: Sequence[str] | None = None) -> TaskTable:
    """Read the images and labels of a folder.

    Args:
        folder: holds ``labels.csv`` (see :func:`~mast_plugin.evaluation.tasks.read_tasks`), or
            ``train`` and ``val`` with a folder of images for every class: the one task ``class``.
        tasks: the tasks to read; by default all of them.

    Raises:
        DataError: the folder holds neither, or they do not fit (a class without samples, a task
            that is not there).
    """
    table = folder / "labels.csv"
    if table.is_file():
        return read_tasks(table, tasks)
    if not all((folder / split).is_dir() for split in SPLITS):
        raise DataError(
            f"{folder} holds no labelled images: it must have a labels.csv (columns file, split "
            "and one per task), or folders train and val with a folder for every class."
        )
    if tasks and list(tasks) != ["class"]:
        raise DataError(f"{folder} has class folders only: leave tasks out, or give tasks=[class].")
    return _class_folders(folder)


def _class_folders(folder: Path) -> TaskTable:
    classes = {
        split: sorted(path.name for path in (folder / split).iterdir() if path.is_dir())
        for split in SPLITS
    }
    if lonely := sorted(set(classes["train"]) ^ set(classes["val"])):
        raise DataError(
            f"{folder}: the class {lonely[0]!r} must have a folder in train and in val."
        )
    if len(classes["train"]) < 2:
        raise DataError(f"{folder}/train must have a folder for each of two or more classes.")
    files: dict[str, list[Path]] = {split: [] for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for label, name in enumerate(classes[split]):
            found = _images(folder / split / name)
            files[split] += found
            labels[split] += [label] * len(found)
    task = Task("class", tuple(classes["train"]), *(torch.tensor(labels[s]) for s in SPLITS))
    return TaskTable(tuple(files["train"]), tuple(files["val"]), (task,))


def _images(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if is_image(path))
    if not found:
        raise DataError(
            f"{folder} holds no images: add some, or remove the class from both splits."
        )
    return found
