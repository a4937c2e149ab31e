"""Images that are there twice, with different labels."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path


def contradictions(samples: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    """Pairs of files with the same bytes and different labels.

    Every file is asked for its size, and read once where one of another label is as long.

    Args:
        samples: path and label of each image; files that cannot be read are passed over.
    """
    found: list[tuple[str, str]] = []
    first: dict[bytes, tuple[str, int]] = {}
    for path, label in _suspects(samples):
        try:
            content = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()
        except OSError:
            continue
        other, its_label = first.setdefault(content, (path, label))
        if its_label != label:
            found.append((other, path))
    return found


def _suspects(samples: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    by_size: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for path, label in samples:
        try:
            by_size[os.stat(path).st_size].append((path, label))  # noqa: PTH116 (of every image)
        except OSError:
            continue
    for group in by_size.values():
        if len({label for _, label in group}) > 1:
            yield from group
