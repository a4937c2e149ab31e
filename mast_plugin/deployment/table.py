"""Vectors of images as a file of a common format, written block by block in bounded memory."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.storage import whole_file

if TYPE_CHECKING:
    from mast_plugin.deployment.source import Label

Block: TypeAlias = NDArray[np.float32]
_CELLS = 1 << 16
"""Names that are written at once."""


@dataclass(frozen=True)
class Table:
    """Vectors of N images with what each row is of.

    Attributes:
        width: F, of the vectors.
        columns: ``file``, and ``label`` and ``error`` where there are some; N entries each.
        blocks: the vectors, (n, F) each, from the first row on; asked for once.
    """

    width: int
    columns: Mapping[str, Sequence[Label]]
    blocks: Callable[[], Iterator[Block]]

    def __len__(self) -> int:
        return len(self.columns["file"])

    @property
    def shape(self) -> tuple[int, int]:
        """(N, F)."""
        return len(self), self.width


def check_format(path: Path) -> None:
    """Refuse a file of a kind that cannot be written.

    Raises:
        ConfigurationError: its ending says no format, or a package is missing.
    """
    if path.suffix not in _WRITERS:
        raise ConfigurationError(
            f"output={path} says no format by its ending: end it with {', '.join(_WRITERS)}"
        )
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError(
            f"output={path} needs pyarrow: pip install 'mast-plugin[export]', or choose .npz"
        )


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that are written for an output, itself the last."""
    return (path.with_suffix(".csv"), path) if path.suffix in _ALONE else (path,)


def write(path: Path, table: Table) -> None:
    """Write a table in the format of the file's ending; a file is whole or not there.

    Raises:
        OSError: it cannot be written.
    """
    if path.suffix in _ALONE:
        with whole_file(path.with_suffix(".csv")) as file:
            _write_csv(file, table, with_features=False)
    with whole_file(path) as file:
        _WRITERS[path.suffix](file, table)


def _write_npz(file: IO[bytes], table: Table) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            _write_npy(member, table)
        for name, cells in table.columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_column(member, cells)


def _write_npy(file: IO[bytes], table: Table) -> None:
    _write_array(file, "<f4", table.shape, table.blocks())


def _write_column(file: IO[bytes], cells: Sequence[Label]) -> None:
    """One column: whole numbers as they are, anything else as texts."""
    if all(isinstance(cell, int) for cell in cells):
        kind, texts = "<i8", list(cells)
    else:
        texts = ["" if cell is None else str(cell) for cell in cells]
        kind = f"<U{max(1, *map(len, texts))}"  # type: ignore[arg-type]
    starts = range(0, len(texts), _CELLS)
    blocks = (np.array(texts[start : start + _CELLS], kind) for start in starts)
    _write_array(file, kind, (len(texts),), blocks)


def _write_array(
    file: IO[bytes], kind: str, shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
) -> None:
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)  # type: ignore[arg-type]
    for block in blocks:
        file.write(np.ascontiguousarray(block, kind).data)


def _write_safetensors(file: IO[bytes], table: Table) -> None:
    """The format's own layout: the length of a header in JSON, the header, the bytes."""
    rows, width = table.shape
    place = {"dtype": "F32", "shape": [rows, width], "data_offsets": [0, 4 * rows * width]}
    header = json.dumps({"features": place}).encode()
    header += b" " * (-len(header) % 8)  # the values begin at a multiple of eight
    file.write(len(header).to_bytes(8, "little") + header)
    for block in table.blocks():
        file.write(np.ascontiguousarray(block, "<f4").data)


def _write_csv(file: IO[bytes], table: Table, *, with_features: bool = True) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    features = [str(number) for number in range(table.width)] if with_features else []
    writer.writerow([*table.columns, *features])
    cells = zip(*table.columns.values(), strict=True)
    if not with_features:
        writer.writerows(cells)
    else:
        for block in table.blocks():
            # As texts they are the shortest that read back as the same float32.
            for row, values in zip(islice(cells, len(block)), block.astype(str), strict=True):
                writer.writerow([*row, *values])
    text.detach()


def _write_parquet(file: IO[bytes], table: Table) -> None:
    """Columns as they are, and ``features``, a list of fixed length in each row."""
    import pyarrow
    from pyarrow import parquet

    kinds = {
        name: pyarrow.int64() if all(isinstance(c, int) for c in cells) else pyarrow.string()
        for name, cells in table.columns.items()
    }
    vectors = pyarrow.list_(pyarrow.float32(), table.width)
    schema = pyarrow.schema([*kinds.items(), ("features", vectors)])
    done = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for block in table.blocks():
            stop = done + len(block)
            arrays = [
                pyarrow.array([_cell(c, kinds[name]) for c in cells[done:stop]], kinds[name])
                for name, cells in table.columns.items()
            ]
            flat = pyarrow.array(block.reshape(-1))
            arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, table.width))
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            done = stop


def _cell(cell: Label, kind: Any) -> Label:
    return str(cell) if cell is not None and str(kind) == "string" else cell


_WRITERS: Mapping[str, Callable[[IO[bytes], Table], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".safetensors": _write_safetensors,
}
_ALONE = (".npy", ".safetensors")
"""Formats that hold the vectors alone; what each row is of stands in a table beside them."""
