"""Images that a table lists, wherever their files are."""

import csv
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from mast_plugin.errors import DataError
from mast_plugin.image import load_image


class ImageTable(Dataset[Any]):
    """Images of a CSV table with a column ``file`` and, where labelled, a column ``label``.

    Files are named from the table's folder on, or in full. Labels that are all whole numbers are
    taken as they are; otherwise they are names, numbered in their alphabetical order.

    Args:
        path: the table.
        labelled: read the labels; otherwise every image gets label 0.

    Attributes:
        samples: path and label of every image, in the table's order.
        classes: one entry per label.

    Raises:
        DataError: no such table, a missing column, or no row.
    """

    def __init__(self, path: Path, labelled: bool) -> None:
        rows = _rows(path, ("file", "label") if labelled else ("file",))
        files = [str(path.parent / row["file"]) for row in rows]
        names = [row["label"] for row in rows] if labelled else ["0"] * len(rows)
        if all(name.isdecimal() for name in names):
            labels = [int(name) for name in names]
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


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read ({error})") from error
    for column in columns:
        if column not in (reader.fieldnames or ()):
            mend = "add it" if column == "file" else "add it, or set data.no_labels=true"
            raise DataError(f"the table {path} has no column {column!r}: {mend}")
    if not rows:
        raise DataError(f"the table {path} lists no images: add a row for each")
    return rows
