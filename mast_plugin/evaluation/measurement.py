"""One number about one network: the long rows that every evaluation writes and reads."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.files.storage import write_whole
from mast_plugin.running.run import write_json


@dataclass(frozen=True)
class Measurement:
    """One number, and what it is about.

    Attributes:
        space: which representation was measured, such as ``backbone`` or ``subspace crop``.
        protocol: how, such as ``knn`` or ``few-shot-5``.
        subject: the task, or the augmentation type; empty where there is none.
        metric: what was measured, such as ``top1``.
        value: the number, finite; accuracies are in percent.
        low: lower end of the 95 % interval; the protocol says over what.
        high: upper end of the same.
        chosen: what the protocol chose on a validation split of the training images.

    Raises:
        DataError: the value or an end of its interval is not finite.
    """

    space: str
    protocol: str
    subject: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    chosen: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = (number for number in (self.value, self.low, self.high) if number is not None)
        if not all(map(math.isfinite, numbers)):
            raise DataError(
                f"The {self.metric} of {self.space} in {self.protocol} {self.subject} is "
                f"{self.value} [{self.low}, {self.high}]; every measurement must be finite, so "
                "evaluate a checkpoint whose training did not diverge."
            )


_COLUMNS = tuple(column.name for column in fields(Measurement))


def write(stem: Path, header: Mapping[str, Any], rows: Iterable[Measurement]) -> None:
    """Writes ``<stem>.json`` with header and rows, and ``<stem>.csv`` with the rows alone.

    Args:
        stem: the path without an ending; its folder is created.
        header: what the rows have in common, as plain values.
        rows: the measurements.
    """
    content = [asdict(row) for row in rows]
    write_json(
        stem.with_name(f"{stem.name}.json"), {"header": dict(header), "measurements": content}
    )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    for row in content:
        chosen = " ".join(f"{name}={value:g}" for name, value in row["chosen"].items())
        writer.writerow({**row, "chosen": chosen})
    write_whole(stem.with_name(f"{stem.name}.csv"), text.getvalue())


def read(path: Path) -> tuple[dict[str, Any], list[Measurement]]:
    """Reads what :func:`write` wrote.

    Args:
        path: the JSON file.

    Returns:
        The header, and the measurements in their order.

    Raises:
        DataError: the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["header"]), [Measurement(**row) for row in content["measurements"]]
    except Exception as error:  # whatever else the file holds
        raise DataError(
            f"{path} is no readable evaluation: {type(error).__name__}: {first_line(error)}; "
            "give the .json file that an evaluation wrote."
        ) from error
