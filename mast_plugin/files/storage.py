"""Files that are whole or not there, and one sentence where the disk is full."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mast_plugin.errors import MASTError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space, no quota, and a file as large as the system lets one become."""


def part_of(path: Path) -> Path:
    """Where a file is written before it is whole: beside it, hidden from what looks for it."""
    return path.with_name(f".{path.name}.part")


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when it is whole, and replaces what was there then.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
        settle(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk, the next attempt needs the room
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file as :func:`whole_file` does."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full, and what can be done.

    Args:
        folder: where was written.

    Raises:
        StorageError: the disk was full.
    """
    try:
        yield
    except MASTError:
        raise
    except Exception as error:
        try:
            with full_disk_named(folder):
                raise
        except StorageError as full:
            raise StorageError(
                f"{full}; free some space and start again: what is finished is kept"
            ) from error


def settle(part: Path, path: Path) -> None:
    """Give a file that is written its name, so that it outlives a power cut.

    Its bytes reach the disk before the name does, and the name before this returns: whoever then
    removes an older file never leaves none.
    """
    _to_disk(part)
    part.replace(path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn a full disk's error, wherever it came from, into one sentence.

    Args:
        path: what was being written, or where.

    Raises:
        StorageError: the disk was full.
    """
    try:
        yield
    except MASTError:
        raise  # it says already what could not be written
    except Exception as error:
        cause = _full_disk(error)
        if cause is None:
            raise
        place = cause.filename or path
        raise StorageError(f"cannot write {place}: {os.strerror(cause.errno or 0)}") from error


def _full_disk(error: BaseException) -> OSError | None:
    """Find what a full disk raised behind an error; torch puts one of its own in front of it."""
    seen: Any = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
