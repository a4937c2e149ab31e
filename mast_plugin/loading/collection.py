"""What a folder of images holds: which files are read, in which classes, and what is left out.

Pretraining, evaluation and reports list folders here and nowhere else.

- Links are followed, see :mod:`mast_plugin.loading.walk`.
- Hidden files and folders, and those that systems and tools keep beside pictures, are neither
  images nor classes.
- Whatever is left out is counted; :meth:`Collection.summary` says all of it in one line.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mast_plugin.errors import DataError, on_one_line
from mast_plugin.loading.image import SUFFIXES
from mast_plugin.loading.walk import Walk, entries, is_hidden, parts

_PICTURES = (
    *(".heic", ".heif", ".avif", ".gif", ".jxl", ".jp2", ".psd", ".svg", ".dcm", ".exr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
"""Pictures that are not read, so that a line about them names the mend."""
_MOST_KINDS = 8
TRAIN, TEST = ("train", "training"), ("val", "valid", "validation", "test", "testing")
"""What the parts of a dataset are called, in any case of the letters; the first of them that is
there is it."""
_SPLITS = frozenset((*TRAIN, *TEST, "dev", "eval", "holdout", "unlabeled", "unlabelled"))


@dataclass(frozen=True)
class Collection:
    """Images of a folder.

    Attributes:
        samples: path and label of each image, in the order of classes, then names.
        classes: names of the class folders in their order; none where nothing is labelled.
        left_out: how many files or folders of which kind are not read.
    """

    samples: list[tuple[str, int]]
    classes: tuple[str, ...]
    left_out: Counter[str]

    def summary(self) -> str:
        """Everything in one line, such as ``48 images in 3 classes; left out 10 .gif``."""
        count = f"{len(self.samples):,} image{'s' if len(self.samples) != 1 else ''}"
        line = f"{count} in {len(self.classes)} classes" if self.classes else count
        notes = [line]
        if self.left_out:
            notes.append(f"left out {listed(self.left_out)}{_mend(self.left_out)}")
        if twins := _twins(self.classes):
            same_case = twins[0].casefold() != twins[1].casefold()
            how = "look alike" if same_case else "differ in case only"
            notes.append(f"the classes {twins[0]} and {twins[1]} {how}")
        return "; ".join(notes)


def read_collection(root: Path, *, labelled: bool) -> Collection:
    """List the images of a folder, at any depth, in the order of their names.

    Args:
        root: the folder.
        labelled: its folders are classes; what lies beside them is left out.

    Raises:
        DataError: there is no such folder, it cannot be read, or holds no images; labelled, it
            holds no class folders, splits in place of classes, or a class without images.
    """
    if not root.is_dir():
        raise _no_folder(root)
    walk = Walk(root)
    walk.run()
    if not labelled:
        if not walk.files:
            raise DataError(f"{root} holds no images{_instead(walk.left_out)}")
        return Collection([(path, 0) for path in walk.files], (), walk.left_out)
    return _labelled(walk)


def images_of(root: Path) -> list[str]:
    """Paths of all images of a folder, at any depth; there may be none.

    Raises:
        DataError: the folder cannot be read.
    """
    walk = Walk(root)
    walk.run()
    return walk.files


def class_names(root: Path) -> tuple[str, ...]:
    """Names of the class folders of a folder, in their order.

    Raises:
        DataError: the folder cannot be read.
    """
    names = (entry.name for entry in entries(str(root)) if Path(entry.path).is_dir())
    return tuple(sorted(name for name in names if not is_hidden(name)))


def part_of(folders: Iterable[str], names: Sequence[str]) -> str | None:
    """Which of the folders (or other names) is a part of a dataset, by what it may be called."""
    found = {folder.casefold(): folder for folder in folders}
    return next((found[name] for name in names if name in found), None)


def printable(name: str) -> str:
    r"""A file's name on one line; bytes that are no UTF-8 are written as ``\xff``."""
    return on_one_line(os.fsencode(name).decode("utf-8", "backslashreplace"))


def listed(counts: Counter[str]) -> str:
    """Kinds with their counts, the most frequent first, such as ``30 .heic, 10 .gif``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {kind}" for kind, count in ordered[:_MOST_KINDS]]
    if rest := sum(count for _, count in ordered[_MOST_KINDS:]):
        shown.append(f"{rest:,} others")
    return ", ".join(shown)


def _labelled(walk: Walk) -> Collection:
    root = walk.root
    classes = class_names(root)
    if not classes:
        raise DataError(
            f"{root} holds no class folders: move its images into one folder per class, "
            "or set data.no_labels=true"
        )
    train = part_of(classes, TRAIN)
    if train and {name.casefold() for name in classes} <= _SPLITS:
        raise DataError(
            f"{root} holds splits ({', '.join(classes)}), not classes: set "
            f"data.train_path={root / train}, or data.no_labels=true"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    depth = len(parts(str(root)))
    samples, loose = [], 0
    for path in walk.files:
        below = parts(path)[depth:]
        if len(below) > 1:
            samples.append((path, numbers[below[0]]))
        else:
            loose += 1
    if loose:
        walk.left_out["beside the class folders"] += loose
    filled = {label for _, label in samples}
    for name, number in numbers.items():
        if number not in filled:
            raise _empty(walk, root / name)
    return Collection(samples, classes, walk.left_out)


def _no_folder(root: Path) -> DataError:
    if root.exists():
        return DataError(
            f"{root} is no folder: give the folder of images (unpack it if it is an archive), a "
            ".csv table or .tar shards"
        )
    home = ", with the home folder in full" if str(root).startswith("~") else ""
    return DataError(
        f"the image folder {root} does not exist: set data.train_path (or val_path){home}"
    )


def _empty(walk: Walk, folder: Path) -> DataError:
    elsewhere = walk.folders.get(os.path.realpath(folder))
    if elsewhere not in (None, str(folder)):
        return DataError(
            f"the class folder {folder} is a link to {elsewhere}, whose images would have two "
            "labels: remove one of them"
        )
    left_out = Walk(folder)
    left_out.run()
    if left_out.files:  # all of them are links to images of other classes
        return DataError(
            f"the class folder {folder} holds links to images of other classes only: remove it"
        )
    return DataError(
        f"the class folder {folder} holds no images{_instead(left_out.left_out)}: "
        "fill it or remove it"
    )


def _instead(left_out: Counter[str]) -> str:
    """What there is in place of images, for a sentence that says that there are none."""
    kinds = ", ".join(SUFFIXES)
    return (
        f" ({kinds}; it holds {listed(left_out)}{_mend(left_out)})" if left_out else f" ({kinds})"
    )


def _mend(left_out: Counter[str]) -> str:
    pictures = [kind for kind in sorted(left_out) if kind in _PICTURES]
    return f" (convert {', '.join(pictures)} to .jpg or .png)" if pictures else ""


def _twins(classes: Sequence[str]) -> list[str]:
    """Two classes that differ in case, spaces or how Unicode writes them only, or none."""
    known: dict[str, str] = {}
    for name in classes:
        written = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        if written in known:
            return [known[written], name]
        known[written] = name
    return []
