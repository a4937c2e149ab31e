"""Going on from a checkpoint: read safely, and refused before the first step where it cannot be."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mast_plugin.errors import ConfigurationError, MASTError

_PARTS: Mapping[str, type | tuple[type, ...]] = {
    "state_dict": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": Mapping,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
}
"""What both engines go on from, and of which kind it is."""

_RESTORING = ("restore", "_restore", "resume")
"""How the engines' functions are called that take a checkpoint over; the others there save one."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that a run can go on from, without running anything that is in it.

    A schedule of either host may hold functions. They are left out, so that the schedule that goes
    on keeps its own; those in the file would be bound to a copy of the schedule that wrote it.

    Args:
        path: written by either engine.

    Raises:
        ConfigurationError: it is damaged, refers to code that no checkpoint needs, or lacks what a
            run goes on from.
    """
    from mast_plugin.files.pickle_file import read_pickle

    content = _without_inert(read_pickle(path))
    for part, kind in _PARTS.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), kind):
            raise ConfigurationError(
                f"no run can go on from {path}, which has no {part}: give a .ckpt file that a "
                f"pretraining wrote, or start from its weights with init_from={path}"
            )
    return dict(content)


@contextmanager
def misfit_explained(checkpoint: Path | None) -> Iterator[None]:
    """Turn what an engine raises at a checkpoint of another network or optimiser into one sentence.

    Args:
        checkpoint: what the run goes on from, if it goes on from anything.

    Raises:
        ConfigurationError: the checkpoint holds the state of another run.
    """
    try:
        yield
    except MASTError:
        raise
    except Exception as error:
        if checkpoint is None or not _while_restoring(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigurationError(
            f"this run cannot go on from {checkpoint} ({reason}): give a checkpoint of the same "
            f"network, method and optimizer, or start from its backbone with init_from={checkpoint}"
        ) from error


def _while_restoring(error: Exception) -> bool:
    """Whether the engine was taking the checkpoint's state over, and not training yet."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(
        frame.filename.endswith("checkpoint_connector.py") and frame.name.startswith(_RESTORING)
        for frame in frames
    )


def _without_inert(value: Any) -> Any:
    """The value with every dictionary's stand-ins left out."""
    from mast_plugin.files.pickle_file import Inert

    if type(value) is dict:
        kept = {key: each for key, each in value.items() if not isinstance(each, Inert)}
        return {key: _without_inert(each) for key, each in kept.items()}
    return [_without_inert(each) for each in value] if type(value) is list else value
