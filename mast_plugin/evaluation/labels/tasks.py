"""Which labels the images carry: a table of tasks, checked once, before anything is trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from mast_plugin.errors import ClassError, DataError, shown
from mast_plugin.loading.collection import TEST, TRAIN, part_of
from mast_plugin.loading.image_table import check_labels, file_of, read_rows

Row: TypeAlias = dict[str, str]

SPLITS = ("train", "val")
NO_PART = "-"
"""In a table: the image takes no part in the task. An empty cell is taken for an oversight."""


@dataclass(frozen=True)
class Task:
    """One classification of the images.

    Attributes:
        name: the table's column.
        classes: the classes' names; a label is an index into them.
        train: (N,) labels of the training images that take part, int64.
        val: (M,) labels of the validation images that take part, int64.
        train_images: (N,) which of the table's training images take part; ``None``: all.
        val_images: (M,) likewise.
    """

    name: str
    classes: tuple[str, ...]
    train: Tensor
    val: Tensor
    train_images: Tensor | None = None
    val_images: Tensor | None = None

    @property
    def chance(self) -> float:
        """Accuracy in percent of always answering with the most frequent training class."""
        answer = torch.bincount(self.train).argmax()
        return 100 * (self.val == answer).float().mean().item()

    def of_train(self, features: Tensor) -> Tensor:
        """Those rows of the training images' features, or of anything, that take part."""
        return features if self.train_images is None else features[self.train_images]

    def of_val(self, features: Tensor) -> Tensor:
        """Those rows of the validation images' features that take part."""
        return features if self.val_images is None else features[self.val_images]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Call a class that cannot be used by its name, and say of which task it is.

        Raises:
            DataError: in place of a :class:`ClassError`.
        """
        try:
            yield
        except ClassError as error:
            raise DataError(
                f"Class {self.classes[error.label]!r} of the task {self.name} {error.complaint}"
            ) from error


@dataclass(frozen=True)
class TaskTable:
    """The images of both splits and the tasks that they carry, in the same order.

    Attributes:
        train_files: paths of the N training images.
        val_files: paths of the M validation images.
        tasks: the tasks, in the order of the columns.
    """

    train_files: tuple[Path, ...]
    val_files: tuple[Path, ...]
    tasks: tuple[Task, ...]

    def files(self, task: Task) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """The training and the validation images that take part in a task."""
        pairs = ((self.train_files, task.train_images), (self.val_files, task.val_images))
        train, val = (
            files if chosen is None else tuple(files[index] for index in chosen.tolist())
            for files, chosen in pairs
        )
        return train, val


def read_tasks(table: Path, columns: Sequence[str] | None = None) -> TaskTable:
    """Reads a table of tasks.

    The first line names the columns: ``file`` (relative to the table's folder), ``split`` (train
    and val, or train and test, and other spellings of the two), and one column per task, in which
    every distinct text is a class, and ``-`` says that the image takes no part in the task. A
    column without a name, in which programs number the rows, is none.

    Args:
        table: the CSV file.
        columns: the tasks to read; by default all of them.

    Raises:
        DataError: the table cannot be read, lacks a column or a label, names an image twice, or one
            that is not in its folder, a class occurs in one split only, or a task has one class.
    """
    rows, header, numbers = read_rows(table)
    tasks = [name for name in header if name not in ("file", "split", "")]
    if missing := {"file", "split", *(columns or ())} - set(header):
        lacking = ", ".join(sorted(missing))
        raise DataError(f"{table} lacks the columns {lacking[:200]}; it has {shown(header)}.")
    _check_images(table, rows)
    rows = [{**row, "split": split} for row, split in zip(rows, _splits(rows), strict=True)]
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    if len(rows) != sum(map(len, by_split.values())) or not all(by_split.values()):
        found = sorted({row["split"] for row in rows})
        raise DataError(
            f"{table} must have images of the splits train and val only; it has {shown(found)}."
        )
    train, val = ([table.parent / row["file"] for row in by_split[split]] for split in SPLITS)
    for name in columns or tasks:
        if all(row[name] for row in rows):  # what is empty is refused with this table's own mend
            check_labels(table, name, rows, numbers)
    read = (_read_task(table, name, by_split) for name in columns or tasks)
    return TaskTable(tuple(train), tuple(val), tuple(read))


def _splits(rows: list[Row]) -> list[str]:
    """The rows' splits, by the names of ours where there are two, whatever others call them."""
    found = {row["split"] for row in rows}
    pair = (part_of(found, TRAIN), part_of(found, TEST))
    names = dict(zip(pair, SPLITS, strict=True)) if found == set(pair) else {}
    return [names.get(row["split"], row["split"]) for row in rows]


def _check_images(table: Path, rows: list[Row]) -> None:
    """Refuses an image that is not there, or that is named twice: it could be in both splits."""
    seen: set[Path] = set()
    for row in rows:
        path = file_of(table, row["file"])
        if path in seen:
            raise DataError(f"{table} names {shown(row['file'])} twice.")
        if not path.is_file():
            raise DataError(f"{table} names {row['file'][:200]}, which is not in {table.parent}.")
        seen.add(path)


def _read_task(table: Path, name: str, by_split: dict[str, list[Row]]) -> Task:
    texts = {split: [row[name] for row in by_split[split]] for split in SPLITS}
    for split in SPLITS:
        if "" in texts[split]:
            file = by_split[split][texts[split].index("")]["file"]
            raise DataError(
                f"{table} has no {name} for {file}: fill it in, or write {NO_PART} to leave the "
                "image out of this task."
            )
    found = {split: set(texts[split]) - {NO_PART} for split in SPLITS}
    # The host's k-NN counts the classes of the validation split and fails on any further one.
    if lonely := found["train"] ^ found["val"]:
        raise DataError(
            f"{table}: the {shown(name)} {shown(min(lonely))} occurs in one split only; "
            "every class must occur in both."
        )
    classes = sorted(found["train"])
    if len(classes) < 2:
        raise DataError(f"{table}: every image has the same {name}, which is no task.")
    train, val = (_labels(texts[split], classes) for split in SPLITS)
    return Task(name, tuple(classes), train[0], val[0], train[1], val[1])


def _labels(texts: Sequence[str], classes: Sequence[str]) -> tuple[Tensor, Tensor | None]:
    """Labels of the images that take part, and which these are where not all do."""
    index = {text: label for label, text in enumerate(classes)}
    chosen = [place for place, text in enumerate(texts) if text != NO_PART]
    labels = torch.tensor([index[texts[place]] for place in chosen])
    return labels, None if len(chosen) == len(texts) else torch.tensor(chosen)
