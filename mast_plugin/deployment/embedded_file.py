"""A folder of images to a file of vectors, as a configuration says."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.running.interruption import Interruption
from mast_plugin.running.ownership import owned
from mast_plugin.running.progress import progress
from mast_plugin.setting.configuration import evaluation_options

if TYPE_CHECKING:
    from mast_plugin.deployment.embedding import Embedder
    from mast_plugin.deployment.part import Parts
    from mast_plugin.deployment.table import Table
    from mast_plugin.deployment.transform import ImageTransform

_FORMAT = 1
"""Raised whenever a part is written otherwise than before."""


@dataclass(frozen=True)
class Written:
    """What an embedding ends with.

    Attributes:
        files: that were written, the vectors' own the last.
        shape: (N, F).
        columns: what there is beside the vectors.
        unreadable: how many images could not be read.
    """

    files: tuple[Path, ...]
    shape: tuple[int, int]
    columns: tuple[str, ...]
    unreadable: int

    def __str__(self) -> str:
        """Where everything is."""
        rows, width = self.shape
        line = f"{self.files[-1]} holds {rows:,} vectors of {width:,} numbers"
        if len(self.files) > 1:
            line += f", and {self.files[0]} what they are of ({', '.join(self.columns)})"
        else:
            line += f", with {', '.join(self.columns)}"
        if self.unreadable:
            line += f"; {self.unreadable:,} could not be read: see the column error"
        return line


def embed_to_file(cfg: DictConfig) -> Written:
    """Embed images; an interrupted call is gone on with, and its parts are joined at the end.

    Args:
        cfg: the keys of ``scripts/embed/embed.yaml``; it is left as it is.

    Raises:
        MASTError: anything that keeps it from starting, before it takes any time; or an image that
            cannot be read.
    """
    options = checked(cfg)
    output = Path(options["output"])
    from mast_plugin.deployment.part import Parts
    from mast_plugin.deployment.source import source_of

    embedder, transform = _embedder(options)
    source = source_of(options["data"], transform.reading)
    parts = Parts(output.with_name(f".{output.name}.parts"), source)
    with full_disk_explained(output.parent), owned(parts.folder):
        parts.prepare(_identity(options, transform, embedder.model))
        _fill(parts, embedder)
        return _join(parts, output)


def checked(cfg: DictConfig) -> dict[str, Any]:
    """Every option, refused where it is unknown, or where two contradict each other."""
    from mast_plugin.deployment.representation import with_representation
    from mast_plugin.deployment.table import check_format, files_of

    options = with_representation(evaluation_options(cfg, "embed"))
    output = Path(options["output"])
    check_format(output)
    there = next((path for path in files_of(output) if path.exists()), None)
    if there is not None and (there.is_dir() or not options["overwrite"]):
        mend = "" if there.is_dir() else "overwrite=true to replace it, or "
        raise ConfigurationError(f"{there} is there already: give {mend}another output")
    return options


def _embedder(options: dict[str, Any]) -> "tuple[Embedder, ImageTransform]":
    from mast_plugin.deployment.embedding import Embedder, view_of
    from mast_plugin.deployment.representation import load_representation
    from mast_plugin.evaluation.device import chosen_device

    model, transform, chosen = load_representation(options)
    embedder = Embedder(
        model,
        view_of(transform),
        chosen,
        options["batch_size"],
        chosen_device(options["device"]),
        options["num_workers"],
        options["precision"],
        options["unreadable"],
    )
    return embedder, transform


def _identity(options: dict[str, Any], transform: "ImageTransform", model: Any) -> dict[str, Any]:
    """What the vectors depend on, but for the images and for rounding."""
    from mast_plugin.evaluation import version
    from mast_plugin.evaluation.network.weight_file import sha256_of

    keys = ("representation", "invariant_to", "free_of", "unreadable", "precision")
    return {
        "format": _FORMAT,
        "versions": {"loading": version.LOADING, "views": version.VIEWS},
        "checkpoint": sha256_of(Path(options["checkpoint"])),
        # The same weights run differently in another network, such as with another stem.
        "network": hashlib.sha256(repr(model).encode()).hexdigest(),
        "transform": asdict(transform),
        **{key: options[key] for key in keys},
    }


def _fill(parts: "Parts", embedder: "Embedder") -> None:
    """Make what is missing."""
    first, total = parts.done(), len(parts.source)
    start = min(first * parts.rows, total)
    try:
        with progress(None, "Embedding", total=total, unit="image") as bar:
            bar.update(start)
            if first < len(parts):
                for count in parts.keep(embedder.batches(parts.source, start), first):
                    bar.update(count)
    except Interruption as stop:
        stop.note = "what is done is kept: the same command goes on"
        raise


def _join(parts: "Parts", output: Path) -> Written:
    from mast_plugin.deployment.table import files_of, write

    table = _table(parts)
    write(output, table)
    errors = sum(bool(error) for error in table.columns.get("error", ()))
    parts.remove()
    return Written(files_of(output), table.shape, tuple(table.columns), errors)


def _table(parts: "Parts") -> "Table":
    from mast_plugin.deployment.table import Block, Table

    labels: list[Any] = []
    errors: list[str] = []
    width = 0
    for number in range(len(parts)):
        part = parts.read(number)
        labels += part.labels
        errors += part.errors
        width = part.features.shape[1]

    def blocks() -> Iterator[Block]:
        for number in range(len(parts)):
            yield parts.read(number).features.numpy()

    columns: dict[str, Any] = {"file": parts.source.names}
    if any(label is not None for label in labels):
        columns["label"] = labels
    if any(errors):
        columns["error"] = errors
    return Table(width, columns, blocks)
