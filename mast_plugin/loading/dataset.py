"""The embedded dataset: an image folder with a table of tasks beside it, made at the first call.

The images are those of :mod:`mast_plugin.loading.scene`::

    <cache>/digits-<hash>/train/<digit>/<number>.png
    <cache>/digits-<hash>/val/<digit>/<number>.png
    <cache>/digits-<hash>/labels.csv          file, split, then one column per task

Every reader of image folders can use it, and the table says what else is known of each image.
"""

import csv
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.scene import SPLITS, TASKS, Labels, Specification, Split, draw


def cache_root() -> Path:
    """The folder that holds every embedded dataset of this user.

    ``$MAST_CACHE``, else ``$XDG_CACHE_HOME/mast_plugin``, else ``~/.cache/mast_plugin``.
    """
    if chosen := os.environ.get("MAST_CACHE"):
        return Path(chosen).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "mast_plugin"


def embedded_dataset(
    part: str = "",
    *,
    root: Path | None = None,
    specification: Specification | None = None,
) -> str:
    """Path of the embedded dataset, which the first call makes (about three seconds).

    Several processes may call it at once: each writes a folder of its own, and the first to finish
    gives it its name.

    Args:
        part: ``train`` or ``val`` for the image folder of a split; empty for the folder around
            both, which also holds ``labels.csv``.
        root: folder in which to keep it; by default :func:`cache_root`.
        specification: what to draw; by default the one that the built-in recipes are tuned on.

    Raises:
        ConfigurationError: ``part`` is not one of the three.
        DataError: the folder cannot be written.
    """
    if part not in ("", "train", "val"):
        raise ConfigurationError(f"The embedded dataset has the parts train and val, not {part!r}.")
    specification = specification or Specification()
    folder = (root or cache_root()) / specification.folder
    if not folder.is_dir():
        try:
            _write(folder, specification)
        except OSError as error:
            raise DataError(
                f"The embedded dataset cannot be written to {folder} ({error.strerror or error}): "
                "set MAST_CACHE to a folder with 25 MB of free space."
            ) from error
    return str(folder / part)


def _write(folder: Path, specification: Specification) -> None:
    """Writes under a name of its own, then renames: a folder of the final name is always whole."""
    draft = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.part")
    try:
        rows = [row for split in SPLITS for row in _write_split(draft, split, specification)]
        with (draft / "labels.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ("file", "split", *TASKS), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was faster, with the same pixels
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_split(draft: Path, split: Split, specification: Specification) -> Iterator[Labels]:
    """Writes the images of a split, and yields their rows of the table."""
    for digit in range(10):
        (draft / split / str(digit)).mkdir(parents=True)
    for number, (image, labels) in enumerate(draw(specification, split)):
        file = f"{split}/{labels['digit']}/{number:05d}.png"
        Image.fromarray(image).save(draft / file)
        yield {"file": file, "split": split} | labels
