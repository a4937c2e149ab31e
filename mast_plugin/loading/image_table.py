"""Images that a table lists, wherever their files are."""

import codecs
import csv
import os
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mast_plugin.check import is_path
from mast_plugin.errors import DataError, shown
from mast_plugin.files.document import first_line
from mast_plugin.loading.collection import Collection
from mast_plugin.loading.image import AS_SHOWN, Reading
from mast_plugin.loading.listed import ListedImages

MAX_CLASSES = 100_000
"""Of labels that are numbers: the online classifier has a row for each up to the largest."""
_MISSING = frozenset(("nan", "<na>", "#n/a", "n/a", "null"))
"""What programs write where a value is missing, in lower case."""
_MISSING_AS_WRITTEN = frozenset(("NA", "None"))
"""R's and Python's words for it, which in other letters may well be a class."""
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF8 = "save it as CSV in UTF-8"


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
        rows, self._numbers = _rows(path, ("file", "label") if labelled else ("file",))
        files = [str(file_of(path, row["file"], in_full=True)) for row in rows]
        names = [row["label"] for row in rows] if labelled else ["0"] * len(rows)
        if labelled:
            check_labels(path, "label", rows, self._numbers)
            _refuse_contradictions(path, files, names, self._numbers)
        if all(name.isdecimal() for name in names):
            labels = [_number(path, name) for name in names]
            classes = [str(number) for number in range(1 + max(labels))]
        else:
            classes = sorted(set(names))
            numbers = {name: number for number, name in enumerate(classes)}
            labels = [numbers[name] for name in names]
        super().__init__(list(zip(files, labels, strict=True)), classes, reading)
        self._table = path
        shown_classes = tuple(classes) if labelled else ()
        listed = Collection(self.samples, shown_classes, Counter())
        self.notes.append(f"{path} lists {listed.summary()}")

    def check(self, step: int = 1) -> None:
        """As of every list; beforehand, all of the table's files are looked for."""
        found = zip(self.samples, self._numbers, strict=True)
        missing = [(path, row) for (path, _), row in found if not os.path.isfile(path)]  # noqa: PTH113
        if missing:
            path, row = missing[0]
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise DataError(
                f"the table {self._table} names {path} in row {row}, where there is no file{more}: "
                "mend the name, or remove the row"
            )
        super().check(step)


def check_labels(
    table: Path, column: str, rows: Sequence[Mapping[str, str]], numbers: Sequence[int]
) -> None:
    """Refuse labels that a program wrote where there was none, or that are written in two ways.

    Args:
        table: for messages.
        column: of the labels.
        rows: the table's.
        numbers: of the rows, as :func:`read_rows` gives them.

    Raises:
        DataError: a label that is blank or stands for a missing value, holds a line break, or two
            that are the same number (``0`` and ``0.0``) or differ only in spaces or in how Unicode
            writes them; naming the row.
    """
    written: dict[str | float, tuple[str, int]] = {}
    for row, cells in zip(numbers, rows, strict=True):
        label = cells[column]
        if len(label.splitlines()) > 1:
            raise DataError(
                f"the table {table} has the {column} {shown(label)} in row {row}, over several "
                "lines: close its quotes"
            )
        if _is_missing(label.strip()):
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


def _is_missing(label: str) -> bool:
    return not label or label.casefold() in _MISSING or label in _MISSING_AS_WRITTEN


def _refuse_contradictions(
    table: Path, files: Sequence[str], labels: Sequence[str], numbers: Sequence[int]
) -> None:
    known: dict[str, tuple[str, int]] = {}
    for row, file, label in zip(numbers, files, labels, strict=True):
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
        return unicodedata.normalize("NFC", label.strip())


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


def read_rows(table: Path) -> tuple[list[dict[str, str]], list[str], list[int]]:
    """A CSV table's rows, its columns in their order, and the rows' numbers.

    A cell that a row lacks is empty; empty lines are passed over. Rows are numbered as spreadsheets
    do: the header is row 1, empty lines count, and a cell of several lines is in one row.

    Raises:
        DataError: the table is not there, is no file, or is no CSV in UTF-8; a column's name stands
            there twice, or a row has a cell in no column.
    """
    if not table.is_file():  # opening a pipe would wait for somebody to write to it
        raise DataError(f"the table {table} cannot be read: it is not there, or is no file")
    try:
        with table.open("rb") as binary:
            start = binary.read(64)
        if zeros := start.count(0):
            kind = "in UTF-16" if 3 * zeros > len(start) or start[:2] in _MARKS else "no text"
            raise DataError(f"the table {table} cannot be read, as it is {kind}: {_UTF8}")
        with table.open(newline="", encoding="utf-8-sig") as file:  # Excel sets a mark in front
            lines = list(enumerate(csv.reader(file, strict=True), start=1))
    except UnicodeDecodeError as error:
        place = f"byte {error.object[error.start]:#x} at position {error.start}"
        raise DataError(f"the table {table} is not in UTF-8 ({place}): {_UTF8}") from error
    except (OSError, csv.Error) as error:
        raise DataError(
            f"the table {table} cannot be read ({first_line(error)}): save it as CSV"
        ) from error
    filled = [(number, cells) for number, cells in lines if cells]
    if not filled:
        raise DataError(f"the table {table} is empty: name its columns in the first line")
    (_, header), *rows = filled
    while header and not header[-1]:  # of columns that a spreadsheet once had
        header.pop()
    _refuse_other_separators(table, header)
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise DataError(f"the table {table} has the column {shown(twice[0])} twice: keep one")
    for number, cells in rows:
        if any(cells[len(header) :]):
            raise DataError(
                f"the table {table} has {len(cells)} cells in row {number}, under the columns "
                f"{shown(header)}: put a cell that holds commas in quotes"
            )
    blank = [""] * len(header)
    return (
        [dict(zip(header, cells + blank, strict=False)) for _, cells in rows],
        header,
        [number for number, _ in rows],
    )


def _refuse_other_separators(table: Path, header: Sequence[str]) -> None:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"the table {table} has {name} between its columns: save it with commas"
            )


def _rows(path: Path, columns: tuple[str, ...]) -> tuple[list[dict[str, str]], list[int]]:
    rows, header, numbers = read_rows(path)
    for column in columns:
        if column not in header:
            mend = "add it" if column == "file" else "add it, or set data.no_labels=true"
            raise DataError(
                f"the table {path} has no column {column!r} but {shown(header)}: {mend}"
            )
    if not rows:
        raise DataError(f"the table {path} lists no images: add a row for each")
    return rows, numbers


def _number(path: Path, name: str) -> int:
    # Longer ones are not even read: Python takes its time, or refuses.
    number = int(name) if len(name) < 20 else MAX_CLASSES
    if number >= MAX_CLASSES:
        raise DataError(
            f"the table {path} has the label {name[:40]}: number the classes from 0, below "
            f"{MAX_CLASSES:,}, or name them"
        )
    return number
