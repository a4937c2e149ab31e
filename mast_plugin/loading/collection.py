"""What a folder of images holds: which files are read, in which classes, and what is left out.

Pretraining, evaluation and reports list folders here and nowhere else.

- Linked folders are followed, each real folder once: where it really is, or else under the first
  of its links. Linked files likewise. So no link makes a loop, or gives an image a second label.
- Hidden files and folders, and those that systems and tools keep beside pictures, are neither
  images nor classes.
- Whatever is left out is counted; :meth:`Collection.summary` says all of it in one line.
"""

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mast_plugin.errors import DataError, on_one_line
from mast_plugin.files.document import first_line
from mast_plugin.loading.image import SUFFIXES, is_image

_SYSTEM = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "lost+found"),
        *("$recycle.bin", "recycler", "system volume information", "__pycache__"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot"),
    )
)
"""Of macOS, Windows, Linux, Python and NAS systems, in lower case; beside all that starts with a
dot: ``.DS_Store``, ``._photo.jpg``, ``.ipynb_checkpoints``, ``.thumbnails``."""
_PICTURES = (
    *(".heic", ".heif", ".avif", ".gif", ".jxl", ".jp2", ".psd", ".svg", ".dcm", ".exr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)
"""Pictures that are not read, so that a line about them names the mend."""
_LINKED, _HIDDEN, _BROKEN = "linked twice", "hidden", "no file"
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


@dataclass
class _Walk:
    """One walk through a folder and what is linked into it."""

    root: Path
    files: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    folders: dict[str, str] = field(default_factory=dict)
    """Real path of every folder that was gone through, and where it was found."""
    links: list[str] = field(default_factory=list)
    """Folders and files that are links, to be followed when all real folders are known."""

    def run(self) -> None:
        self.through(str(self.root))
        targets = set()
        while self.links:
            links, self.links = sorted(self.links, key=_parts), []
            for link in links:
                real = os.path.realpath(link)
                if Path(link).is_dir():
                    if real in self.folders:
                        self.left_out[_LINKED] += 1
                    else:
                        self.through(link, real)
                elif self._lists(real) or real in targets:
                    self.left_out[_LINKED] += 1
                else:
                    targets.add(real)
                    self.files.append(link)
        self.files.sort(key=_parts)

    def through(self, folder: str, real: str | None = None) -> None:
        """Go through a folder that has not been gone through, and those in it."""
        waiting = [(folder, real or os.path.realpath(folder))]
        while waiting:
            folder, real = waiting.pop()
            if real in self.folders:
                self.left_out[_LINKED] += 1
                continue
            self.folders[real] = folder
            for entry in _entries(folder):
                if entry.is_symlink() and not is_hidden(entry.name):
                    self.link(entry)
                elif entry.is_dir(follow_symlinks=False) and not is_hidden(entry.name):
                    waiting.append((entry.path, os.path.join(real, entry.name)))  # noqa: PTH118
                else:
                    self.add(entry)

    def link(self, entry: "os.DirEntry[str]") -> None:
        """Keep a link for later, unless it leads to nothing that is read."""
        target = Path(entry.path)
        if target.is_dir() or (target.is_file() and is_image(entry.name)):
            self.links.append(entry.path)
        else:
            self.add(entry)

    def add(self, entry: "os.DirEntry[str]") -> None:
        """Take a file, or count it as left out."""
        kind = _kind(entry)
        if kind is None:
            self.files.append(entry.path)
        else:
            self.left_out[kind] += 1

    def _lists(self, real: str) -> bool:
        folder, name = os.path.split(real)
        return folder in self.folders and is_image(name) and not is_hidden(name)


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
    walk = _Walk(root)
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
    walk = _Walk(root)
    walk.run()
    return walk.files


def class_names(root: Path) -> tuple[str, ...]:
    """Names of the class folders of a folder, in their order.

    Raises:
        DataError: the folder cannot be read.
    """
    entries = _entries(str(root))
    names = (entry.name for entry in entries if Path(entry.path).is_dir())
    return tuple(sorted(name for name in names if not is_hidden(name)))


def part_of(folders: Iterable[str], names: Sequence[str]) -> str | None:
    """Which of the folders (or other names) is a part of a dataset, by what it may be called."""
    found = {folder.casefold(): folder for folder in folders}
    return next((found[name] for name in names if name in found), None)


def is_hidden(name: str) -> bool:
    """Whether a system or a tool keeps a file or folder of that name for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


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


def _labelled(walk: _Walk) -> Collection:
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
    depth = len(_parts(str(root)))
    samples, loose = [], 0
    for path in walk.files:
        below = _parts(path)[depth:]
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


def _empty(walk: _Walk, folder: Path) -> DataError:
    elsewhere = walk.folders.get(os.path.realpath(folder))
    if elsewhere not in (None, str(folder)):
        return DataError(
            f"the class folder {folder} is a link to {elsewhere}, whose images would have two "
            "labels: remove one of them"
        )
    left_out = _Walk(folder)
    left_out.run()
    if left_out.files:  # all of them are links to images of other classes
        return DataError(
            f"the class folder {folder} holds links to images of other classes only: remove it"
        )
    return DataError(
        f"the class folder {folder} holds no images{_instead(left_out.left_out)}: "
        "fill it or remove it"
    )


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read ({first_line(error)}): mend its permissions, or "
            "move it out of the collection"
        ) from error


def _kind(entry: "os.DirEntry[str]") -> str | None:
    """As what a file is left out; ``None`` for an image."""
    if is_hidden(entry.name):
        return _HIDDEN
    if not Path(entry.path).is_file() if entry.is_symlink() else not entry.is_file():
        return _BROKEN
    if is_image(entry.name):
        return None
    return Path(entry.name).suffix.lower() or "without ending"


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


def _parts(path: str) -> list[str]:
    """As which pathlib compares paths."""
    return path.split("/")
