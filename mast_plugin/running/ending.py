"""How a run ends that does not reach its last epoch: what is kept is said in the same sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mast_plugin.errors import DivergenceError, StorageError
from mast_plugin.files.storage import full_disk_named
from mast_plugin.running.interruption import Interruption, arrived
from mast_plugin.running.run import Run, latest_checkpoint, write_json

_DIVERGENCE = "divergence.json"
_OWN = (Interruption, DivergenceError, StorageError)


@contextmanager
def premature_end_explained(run: Run, cfg: DictConfig, trainer: Any) -> Iterator[None]:
    """Complete what ends a run before its time by the checkpoint that is left.

    Args:
        run: what is under way.
        cfg: its configuration.
        trainer: of the engine; processes other than the first write nothing.

    Raises:
        Interruption: the process was asked to stop.
        DivergenceError: a loss or a weight is not finite; ``divergence.json`` says so, too.
        StorageError: the disk is full.
    """
    if trainer.is_global_zero:
        (run.folder / _DIVERGENCE).unlink(missing_ok=True)
    try:
        with full_disk_named(run.folder), _unmasked():
            yield
    except Interruption as stop:
        stop.note = _way_on(run, cfg)
        raise
    except StorageError as error:
        raise StorageError(f"{error}; free some space, and {_way_on(run, cfg)}") from error
    except DivergenceError as error:
        left = _left(run)
        good = f"the last good checkpoint is {left}" if left else "no checkpoint was saved before"
        if trainer.is_global_zero:
            write_json(run.folder / _DIVERGENCE, {"message": str(error)})
        raise DivergenceError(f"{error}; {good}") from error


def diverged(folder: Path) -> bool:
    """Whether the run in a folder ended with a :class:`DivergenceError`."""
    return (folder / _DIVERGENCE).is_file()


@contextmanager
def _unmasked() -> Iterator[None]:
    """Raise what ended the run where something else was raised over it, in the cleaning up."""
    try:
        yield
    except Exception as error:
        own: BaseException | None = error
        while own is not None and not isinstance(own, _OWN):
            own = own.__cause__ or own.__context__
        own = own or arrived()
        if own is None:
            raise
        raise own from None


def _left(run: Run) -> Path | None:
    return latest_checkpoint(run.folder) or run.resume_from


def _way_on(run: Run, cfg: DictConfig) -> str:
    checkpoint = _left(run)
    if checkpoint is None:
        return "start again, as no epoch had been saved yet"
    if cfg.auto_resume.enabled and checkpoint.parent == run.folder:
        return f"the same command goes on from {checkpoint}"
    return f"resume_from_checkpoint=\"'{checkpoint}'\" goes on from there"
