"""Images that a table lists, wherever their files are."""

import codecs
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from mast_plugin.check import is_path, shown
from mast_plugin.document import first_line
from mast_plugin.errors import DataError
from mast_plugin.image import AS_SHOWN, Reading
from mast_plugin.listed import ListedImages

MAX_CLASSES = 100_000
"""Of labels that are numbers: the online classifier has a row for each up to the largest."""
_FIRST_ROW = 2
_MISSING = frozenset(("nan", "<na>", "#n/a", "n/a", "null"))
"""What programs write where a value is missing, in lower case."""


class ImageTable(ListedImages):
    """Images of a CSV table with a column ``file`` and, where labelled, a column ``label``.

    Files are named from the table's folder on, without leaving it, or in full. Labels that are all
    whole numbers are taken as they are; otherwise they are names, numbered in their alphabetical
    order.

    Args:
        path: the table.
        labelled: read the labels; otherwise every image gets label 0.
        reading: how files become images.

    Raises:
        DataError: no such table, a missing column, an empty cell, a path that leads out of the
            folder, a label of ``MAX_CLASSES`` or more, or no row; labels that :func:`check_labels`
            refuses, or a file with two of them.
    """

    def __init__(self, path: Path, labelled: bool, reading: Reading = AS_SHOWN) -> None:
        rows = _rows(path, ("file", "label") if labelled else ("file",))
        files = [str(file_of(path, row["file"], in_full=True)) for row in rows]
        names = [row["label"] for row in rows] if labelled else ["0"] * len(rows)
        if labelled:
            check_labels(path, "label", rows)
            _refuse_contradictions(path, files, names)
        if all(name.isdecimal() for name in names):
            labels = [_number(path, name) for name in names]
            classes = [str(number) for number in range(1 + max(labels))]
        else:
            classes = sorted(set(names))
            numbers = {name: number for number, name in enumerate(classes)}
            labels = [numbers[name] for name in names]
        super().__init__(list(zip(files, labels, strict=True)), classes, reading)


def check_labels(table: Path, column: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Refuse labels that a program wrote where there was none, or that are written in two ways.

    Args:
        table: for messages.
        column: of the labels.
        rows: the table's; its header is row 1, as spreadsheets count.

    Raises:
        DataError: a label that is blank or stands for a missing value, or two that are the same
            number (``0`` and ``0.0``) or differ in spaces only; naming the row.
    """
    written: dict[str | float, tuple[str, int]] = {}
    for row, cells in enumerate(rows, _FIRST_ROW):
        label = cells[column]
        if not label.strip() or label.strip().casefold() in _MISSING:
            raise DataError(
                f"the table {table} has no {column} for {shown(cells['file'])} in row {row} but "
                f"{shown(label)}: fill it in, or remove the row"
            )
        first, its_row = written.setdefault(_meant(label), (label, row))
        if first != label:
            raise DataError(
                f"the table {table} has the {column} {shown(label)} in row {row} beside "
                f"{shown(first)} in row {its_row}: write one class in one way"
            )


def _refuse_contradictions(table: Path, files: Sequence[str], labels: Sequence[str]) -> None:
    known: dict[str, tuple[str, int]] = {}
    for row, (file, label) in enumerate(zip(files, labels, strict=True), _FIRST_ROW):
        other, its_row = known.setdefault(file, (label, row))
        if other != label:
            raise DataError(
                f"the table {table} has {file} as {shown(other)} in row {its_row} and as "
                f"{shown(label)} in row {row}: an image has one label"
            )


def _meant(label: str) -> str | float:
    try:
        return float(label)
    except ValueError:
        return label.strip()


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
        with table.open("rb") as binary:
            if binary.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise DataError(
                    f"the table {table} cannot be read, as it is in UTF-16: save it as CSV in UTF-8"
                )
        with table.open(newline="", encoding="utf-8-sig") as file:  # Excel sets a mark in front
            reader = csv.DictReader(file, restval="")
            rows = [
                {name: cell for name, cell in row.items() if name is not None} for row in reader
            ]
            header = list(reader.fieldnames or ())
    except DataError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the table {table} cannot be read ({first_line(error)})") from error
    _refuse_other_separators(table, header)
    return rows, header


def _refuse_other_separators(table: Path, header: Sequence[str]) -> None:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"the table {table} has {name} between its columns: save it with commas"
            )


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    rows, header = read_rows(path)
    for column in columns:
        if column not in header:
            mend = "add it" if column == "file" else "add it, or set data.no_labels=true"
            raise DataError(f"the table {path} has no column {column!r}: {mend}")
    if not rows:
        raise DataError(f"the table {path} lists no images: add a row for each")
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
