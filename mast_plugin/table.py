"""Images that a table lists, wherever their files are."""

import csv
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from mast_plugin.check import is_path, shown
from mast_plugin.document import first_line
from mast_plugin.errors import DataError
from mast_plugin.image import load_image

MAX_CLASSES = 100_000
"""Of labels that are numbers: the online classifier has a row for each up to the largest."""


class ImageTable(Dataset[Any]):
    """Images of a CSV table with a column ``file`` and, where labelled, a column ``label``.

    Files are named from the table's folder on, without leaving it, or in full. Labels that are all
    whole numbers are taken as they are; otherwise they are names, numbered in their alphabetical
    order.

    Args:
        path: the table.
        labelled: read the labels; otherwise every image gets label 0.

    Attributes:
        samples: path and label of every image, in the table's order.
        classes: one entry per label.

    Raises:
        DataError: no such table, a missing column, an empty cell, a path that leads out of the
            folder, a label of ``MAX_CLASSES`` or more, or no row.
    """

    def __init__(self, path: Path, labelled: bool) -> None:
        rows = _rows(path, ("file", "label") if labelled else ("file",))
        files = [str(file_of(path, row["file"], in_full=True)) for row in rows]
        names = [row["label"] for row in rows] if labelled else ["0"] * len(rows)
        if all(name.isdecimal() for name in names):
            labels = [_number(path, name) for name in names]
            self.classes = [str(number) for number in range(1 + max(labels))]
        else:
            self.classes = sorted(set(names))
            numbers = {name: number for number, name in enumerate(self.classes)}
            labels = [numbers[name] for name in names]
        self.samples = list(zip(files, labels, strict=True))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return load_image(path), label


def file_of(table: Path, name: str, *, in_full: bool = False) -> Path:
    """The file that a table's row names, which need not be there.

    What a link in the folder points to is its owner's choice and is not looked at.

    Args:
        table: its folder is where relative names start.
        name: of the file.
        in_full: whether absolute paths are taken, too.

    Raises:
        DataError: no name, or one that leads out of the folder.
    """
    path = Path(name)
    if not name or not is_path(name):
        raise DataError(
            f"the table {table} has a row that names no file ({shown(name)}): mend it or remove it"
        )
    if path.is_absolute() and in_full:
        return path
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"the table {table} names {name[:200]!r}, which is not in its folder: put the image "
            f"there{', or name it in full' if in_full else ''}"
        )
    return table.parent / path


def read_rows(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    """A CSV table's rows, and its columns in their order; a cell that a row lacks is empty.

    Raises:
        DataError: the table is not there, is no file, or is no CSV.
    """
    if not table.is_file():  # opening a pipe would wait for somebody to write to it
        raise DataError(f"the table {table} cannot be read: it is not there, or is no file")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            rows = [
                {name: cell for name, cell in row.items() if name is not None} for row in reader
            ]
            return rows, list(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the table {table} cannot be read ({first_line(error)})") from error


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    rows, header = read_rows(path)
    for column in columns:
        if column not in header:
            mend = "add it" if column == "file" else "add it, or set data.no_labels=true"
            raise DataError(f"the table {path} has no column {column!r}: {mend}")
    if not rows:
        raise DataError(f"the table {path} lists no images: add a row for each")
    if "label" in columns and (empty := [row["file"] for row in rows if not row["label"]]):
        raise DataError(f"the table {path} has no label for {empty[0][:200]!r}: fill it in")
    return rows


def _number(path: Path, name: str) -> int:
    # Longer ones are not even read: Python takes its time, or refuses.
    number = int(name) if len(name) < 20 else MAX_CLASSES
    if number >= MAX_CLASSES:
        raise DataError(
            f"the table {path} has the label {name[:40]}: number the classes from 0, below "
            f"{MAX_CLASSES:,}, or name them"
        )
    return number
