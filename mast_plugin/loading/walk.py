"""Which files lie in a folder, and in what is linked into it.

Linked folders are followed, each real folder once: where it really is, or else under the first of
its links. Linked files likewise. So no link makes a loop, or gives an image a second label.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.loading.image import is_image

_SYSTEM = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "lost+found"),
        *("$recycle.bin", "recycler", "system volume information", "__pycache__"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@sharebin", "#recycle", "#snapshot"),
    )
)
"""Of macOS, Windows, Linux, Python and NAS systems, in lower case; beside all that starts with a
dot: ``.DS_Store``, ``._photo.jpg``, ``.ipynb_checkpoints``, ``.thumbnails``."""
_LINKED, _HIDDEN, _BROKEN = "linked twice", "hidden", "no file"


@dataclass
class Walk:
    """One walk through a folder and what is linked into it.

    Attributes:
        root: the folder.
        files: paths of the images, in the order of their names when the walk has been run.
        left_out: how many files or folders of which kind are not read.
        folders: real path of every folder that was gone through, and where it was found.
        links: folders and files that are links, followed when all real folders are known.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    folders: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Find everything.

        Raises:
            DataError: a folder cannot be read.
        """
        self.through(str(self.root))
        targets = set()
        while self.links:
            links, self.links = sorted(self.links, key=parts), []
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
        self.files.sort(key=parts)

    def through(self, folder: str, real: str | None = None) -> None:
        """Go through a folder that has not been gone through, and those in it."""
        waiting = [(folder, real or os.path.realpath(folder))]
        while waiting:
            folder, real = waiting.pop()
            if real in self.folders:
                self.left_out[_LINKED] += 1
                continue
            self.folders[real] = folder
            for entry in entries(folder):
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


def is_hidden(name: str) -> bool:
    """Whether a system or a tool keeps a file or folder of that name for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def entries(folder: str) -> list["os.DirEntry[str]"]:
    """What lies in a folder.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be read ({first_line(error)}): mend its permissions, or "
            "move it out of the collection"
        ) from error


def parts(path: str) -> list[str]:
    """As which pathlib compares paths."""
    return path.split("/")


def _kind(entry: "os.DirEntry[str]") -> str | None:
    """As what a file is left out; ``None`` for an image."""
    if is_hidden(entry.name):
        return _HIDDEN
    if not Path(entry.path).is_file() if entry.is_symlink() else not entry.is_file():
        return _BROKEN
    if is_image(entry.name):
        return None
    return Path(entry.name).suffix.lower() or "without ending"
