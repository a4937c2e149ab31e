"""What the rows of an evaluation have in common: of which network, on which images, with what."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mast_plugin.evaluation.features.store import fingerprint
from mast_plugin.evaluation.labels.tasks import Task
from mast_plugin.evaluation.protocols.registry import Context, definitions

_INCIDENTAL = (
    "output", "cache", "report", "overwrite", "batch_size", "num_workers", "device", "checkpoint",
    "config",
)  # fmt: skip
"""Options that do not change what is measured; of these two, what the files hold is looked at."""
_PACKAGES = ("mast-plugin", "solo-learn", "torch", "torchvision", "lightning", "pytorch-lightning")


def describe(options: Mapping[str, Any], context: Context, dataset: Path) -> dict[str, Any]:
    """Describe an evaluation before it is made.

    Args:
        options: of the evaluation, complete.
        context: what is evaluated.
        dataset: where its images are.

    Returns:
        Plain values; ``digest`` is the same for evaluations that measure the same: of the same
        weights in the same network, on the same images and labels, by the same versions of the
        protocols and of what loads the images.
    """
    network, table = context.network, context.table
    essential = {name: value for name, value in options.items() if name not in _INCIDENTAL}
    files = fingerprint((*table.train_files, *table.val_files))
    labels = [(task.name, task.classes, *_numbers(task)) for task in table.tasks]
    defined = definitions(options["protocols"])
    built = [repr(part) for part in (network.backbone, network.projector, network.plan)]
    measured = [network.sha256, built, asdict(context.statistics), essential, files, labels]
    digested = json.dumps([*measured, defined], sort_keys=True)
    return {
        "checkpoint": str(Path(options["checkpoint"]).absolute()),
        "sha256": network.sha256,
        "method": network.method,
        "backbone": network.backbone_name,
        "dataset": str(dataset),
        "tasks": {task.name: len(task.classes) for task in table.tasks},
        "num_train": len(table.train_files),
        "num_test": len(table.val_files),
        "seed": options["seed"],
        "protocols": options["protocols"],
        "definitions": defined,
        "versions": _versions(),
        "hardware": _hardware(),
        "digest": hashlib.sha256(digested.encode()).hexdigest()[:16],
        "configuration": network.cfg,
    }


def _numbers(task: Task) -> list[list[int] | None]:
    found = (task.train, task.val, task.train_images, task.val_images)
    return [None if numbers is None else numbers.tolist() for numbers in found]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hardware() -> str:
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {torch.get_num_threads()} threads{gpu}"
