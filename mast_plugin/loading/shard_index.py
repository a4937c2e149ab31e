"""Where the files in a tar shard are: read from its index, or from the tar itself.

Nothing is ever unpacked, so a member's name is never a path; links, devices and folders are passed
over. What a header or an index says is believed only as far as the tar has the bytes for it.
"""

from __future__ import annotations

import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.loading.walk import is_hidden

_VERSION = "v1.2"


@dataclass(frozen=True)
class Entry:
    """A file inside a tar: its suffix, where its bytes start, how many there are, its name."""

    suffix: str
    offset: int
    size: int
    name: str


def write_index(tar: Path, index: Path) -> None:
    """Write the index of a tar, one line per sample; a space in a name becomes ``_``.

    Raises:
        DataError: the tar cannot be read.
        OSError: the index cannot be written; none is left half.
    """
    lines = []
    for entries in _scanned(tar):
        fields = (f"{_word(e.suffix)} {e.offset} {e.size} {_word(e.name)}" for e in entries)
        lines.append(" ".join(fields))
    partial = index.with_name(f"{index.name}.{os.getpid()}")  # ranks may write at the same time
    try:
        content = "\n".join([f"{_VERSION} {len(lines)}", *lines]) + "\n"
        partial.write_text(content, encoding="utf-8", errors="backslashreplace")
        partial.replace(index)
    finally:
        partial.unlink(missing_ok=True)


def read_index(tar: Path) -> list[list[Entry]]:
    """Samples of a tar, each with its files; but for those that systems keep for themselves.

    Raises:
        DataError: the tar or its index cannot be read, is damaged, or says more than is there.
    """
    if not tar.is_file():  # opening a pipe would wait for somebody to write to it
        raise _unreadable(tar, "it is not there, or is no file")
    samples = ([e for e in entries if not _is_hidden(e.name)] for entries in _samples(tar))
    return [entries for entries in samples if entries]


def _is_hidden(name: str) -> bool:
    return any(is_hidden(part) for part in name.split("/") if part.strip("."))


def _samples(tar: Path) -> list[list[Entry]]:
    """All that the index lists, or else the tar."""
    index = tar.with_suffix(".idx")
    stale = not index.is_file() or index.stat().st_mtime < tar.stat().st_mtime
    if not stale:
        return _parsed(index, tar.stat().st_size)
    if os.access(tar.parent, os.W_OK):
        try:
            write_index(tar, index)
            return _parsed(index, tar.stat().st_size)
        except OSError:  # a full disk, or a file system that only looks writable
            pass
    return _scanned(tar)


class _Member(tarfile.TarInfo):
    """A header whose sizes are refused where they are negative.

    tarfile would go back by as much, for ever (CVE-2025-8194).
    """

    def _block(self, count: int) -> int:
        if not 0 <= count < 1 << 62:
            raise tarfile.ReadError(f"a size of {count} bytes")
        return int(super()._block(count))  # type: ignore[misc]


def _scanned(tar: Path) -> list[list[Entry]]:
    samples: dict[str, list[Entry]] = {}
    try:
        # Compressed ones are refused: nothing in them could be read in place.
        with tarfile.open(tar, "r:", tarinfo=_Member) as archive:
            for member in archive:
                if member.isfile():
                    folder, _, file = member.name.rpartition("/")
                    stem, _, suffix = file.partition(".")
                    entry = Entry(suffix.lower(), member.offset_data, member.size, member.name)
                    if member.issparse():
                        raise ValueError(f"{member.name[:100]!r} is stored with holes")
                    samples.setdefault(f"{folder}/{stem}", []).append(entry)
            end = archive.offset
    except Exception as error:  # a damaged header raises of any kind
        raise _unreadable(tar, first_line(error)) from error
    _refuse_broken_off(tar, end)  # and so no member goes on beyond the file
    return list(samples.values())


def _refuse_broken_off(tar: Path, end: int) -> None:
    """Refuse a tar that goes on, or stops, where tarfile took it for complete.

    To tarfile a damaged header is the end, and so is the file's, so that samples would be lost
    without a word. A whole tar ends with empty blocks.
    """
    with tar.open("rb") as file:
        file.seek(end)
        block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise _unreadable(tar, f"it is truncated or damaged at byte {end}")


def _parsed(index: Path, size: int) -> list[list[Entry]]:
    """An index's samples, of a tar of ``size`` bytes."""
    samples = []
    try:
        version, *lines = index.read_text(encoding="utf-8").splitlines()
        width = 4 if version.startswith("v1.2") else 3  # older indexes leave the names out
        for line in lines:
            words = line.split(" ")
            fields = [words[first : first + width] for first in range(0, len(words), width)]
            sample = [Entry(f[0].lower(), int(f[1]), int(f[2]), "".join(f[3:])) for f in fields]
            for entry in sample:
                _refuse_outside(entry, size)
            samples.append(sample)
        if len(samples) != int(version.split()[1]):
            raise ValueError(f"it has {len(samples)} samples where it promises another number")
    except (OSError, ValueError, IndexError) as error:
        raise DataError(
            f"the index {index} cannot be read ({first_line(error)}): remove it, and it is made "
            "again"
        ) from error
    return samples


def _refuse_outside(entry: Entry, size: int) -> None:
    if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > size:
        raise ValueError(f"{entry.name[:100]!r} does not lie within the tar's {size:,} bytes")


def _unreadable(tar: Path, reason: str) -> DataError:
    return DataError(f"{tar} cannot be read as a tar ({reason}): make it again")


def _word(text: str) -> str:
    """The text without spaces, which part the index's fields."""
    return re.sub(r"\s", "_", text)
