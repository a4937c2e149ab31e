"""Vectors on the disk, part by part, so that an interrupted call goes on."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mast_plugin.deployment.embedding import Batch
from mast_plugin.deployment.source import Source
from mast_plugin.files.storage import whole_file, write_whole

PART_ROWS = 4096
"""Images of a part: 32 MiB of 2,048 features."""


@dataclass(frozen=True)
class Parts:
    """The parts of one call, ``<number>.npz`` in a folder of their own.

    A part is whole or not there. It is valid as long as its images have the names, sizes and times
    that they had: it is made again where they differ.

    Attributes:
        folder: beside the output; hidden.
        source: the images.
        rows: images of a part.
    """

    folder: Path
    source: Source
    rows: int = field(default_factory=lambda: PART_ROWS)

    def prepare(self, identity: Mapping[str, Any]) -> None:
        """Make the folder; parts of a call that would give other vectors are removed.

        Args:
            identity: everything that the vectors depend on but the images.
        """
        note, text = self.folder / "identity.json", json.dumps(identity, sort_keys=True)
        if self.folder.is_dir() and not (note.is_file() and note.read_text("utf-8") == text):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not note.is_file():
            write_whole(note, text)

    def __len__(self) -> int:
        return -(-len(self.source) // self.rows)

    def done(self, first: int = 0, last: int | None = None) -> int:
        """The first part, from ``first`` to before ``last``, that has yet to be made."""
        last = len(self) if last is None else last
        return next((number for number in range(first, last) if not self._is_valid(number)), last)

    def keep(self, batches: Iterable[Batch], first: int) -> Iterator[int]:
        """Write what is embedded, from part ``first`` on.

        Yields:
            How many images each batch had.

        Raises:
            OSError: a part cannot be written.
        """
        waiting: list[Batch] = []
        number, count = first, 0
        for batch in batches:
            waiting.append(batch)
            count += len(batch.labels)
            while count >= len(self._span(number)) and number < len(self):
                whole, rest = _cut(waiting, len(self._span(number)))
                self._write(number, whole)
                waiting, number, count = [rest], number + 1, len(rest.labels)
            yield len(batch.labels)

    def read(self, number: int) -> Batch:
        """A part that is done."""
        with np.load(self._path(number)) as content:
            rows = json.loads(content["rows"].tobytes())
            return Batch(torch.from_numpy(content["features"]), rows["labels"], rows["errors"])

    def remove(self) -> None:
        """Remove all of them, once they are joined."""
        shutil.rmtree(self.folder)

    def _span(self, number: int) -> range:
        start = number * self.rows
        return range(start, min(start + self.rows, len(self.source)))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"

    def _write(self, number: int, batch: Batch) -> None:
        rows = {"labels": list(batch.labels), "errors": list(batch.errors)}
        noted = {**rows, "images": self._digest(number)}
        packed = np.frombuffer(json.dumps(noted).encode(), np.uint8)
        with whole_file(self._path(number)) as file:
            np.savez(file, features=batch.features.numpy(), rows=packed)

    def _is_valid(self, number: int) -> bool:
        try:
            with self._path(number).open("rb") as file, np.load(file) as content:
                noted = json.loads(content["rows"].tobytes())
                return bool(noted["images"] == self._digest(number))
        except Exception:  # it is damaged in any way, or not there
            return False

    def _digest(self, number: int) -> str:
        """Of the names, sizes and times of a part's images."""
        digest, seen = hashlib.sha256(), dict[str, str]()
        for index in self._span(number):
            origin = self.source.origin(index)
            if origin is not None and origin not in seen:
                seen[origin] = _stamp(Path(origin))
            name = "" if self.source.names is None else self.source.names[index]
            digest.update(f"{name}\0{seen.get(origin or '', '')}\n".encode())
        return digest.hexdigest()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:  # it is listed or refused when it is read
        return "missing"
    return f"{status.st_size}\0{status.st_mtime_ns}"


def _cut(batches: Sequence[Batch], count: int) -> tuple[Batch, Batch]:
    """The first ``count`` rows of some batches, and the others."""
    features = torch.cat([batch.features for batch in batches])
    labels = [label for batch in batches for label in batch.labels]
    errors = [error for batch in batches for error in batch.errors]
    return (
        Batch(features[:count], labels[:count], errors[:count]),
        Batch(features[count:], labels[count:], errors[count:]),
    )
