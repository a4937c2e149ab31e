"""The labelled images of an evaluation: a table of tasks, or plain folders of classes."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mast_plugin.errors import DataError, on_one_line
from mast_plugin.evaluation.labels.tasks import Task, TaskTable, read_tasks
from mast_plugin.loading.collection import TEST, TRAIN, class_names, part_of, printable
from mast_plugin.loading.listed import FolderImages


def read_labelled(folder: Path, tasks: Sequence[str] | None = None) -> TaskTable:
    """Read the images and labels of a folder.

    Args:
        folder: holds ``labels.csv`` (see :func:`~mast_plugin.evaluation.labels.tasks.read_tasks`),
            or ``train`` and ``val`` (without it, ``test``, or what else :data:`TRAIN` and
            :data:`TEST` of :mod:`mast_plugin.loading.collection` list) with a folder of images for
            every class: the one task ``class``.
        tasks: the tasks to read; by default all of them.

    Raises:
        DataError: the folder holds neither, or they do not fit (a class without samples, a task
            that is not there).
    """
    table = folder / "labels.csv"
    if table.is_file():
        return read_tasks(table, tasks)
    parts = class_names(folder) if folder.is_dir() else ()
    train, test = part_of(parts, TRAIN), part_of(parts, TEST)
    if train is None or test is None:
        raise DataError(
            f"{folder} holds no labelled images: it must have a labels.csv (columns file, split "
            "and one per task), or folders train and val (or test) with a folder for every class."
        )
    if tasks and list(tasks) != ["class"]:
        raise DataError(f"{folder} has class folders only: leave tasks out, or give tasks=[class].")
    beside = [name for name in parts if name.casefold() in TEST and name != test]
    if beside:
        print(
            f"{folder} is tested on {test}; left out {', '.join(beside)}",
            file=sys.stderr,
        )
    return _class_folders(folder, train, test)


def _class_folders(folder: Path, train: str, test: str) -> TaskTable:
    places = (folder / train, folder / test)
    names = [class_names(place) for place in places]
    if lonely := sorted(set(names[0]) ^ set(names[1])):
        raise DataError(
            f"{folder}: the class {lonely[0]!r} must have a folder in {train} and in {test}."
        )
    if len(names[0]) < 2:
        raise DataError(f"{folder / train} must have a folder for each of two or more classes.")
    found = [FolderImages(place, labelled=True) for place in places]
    for images in found:
        if images.left_out:
            print(on_one_line("; ".join(images.notes)), file=sys.stderr)
    files = [tuple(Path(path) for path, _ in images.samples) for images in found]
    labels = [torch.tensor([label for _, label in images.samples]) for images in found]
    task = Task("class", tuple(map(printable, names[0])), *labels)
    return TaskTable(files[0], files[1], (task,))
