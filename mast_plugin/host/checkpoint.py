"""What both hosts' checkpoint callbacks lack: the last epoch, every rank, whole files only."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch

from mast_plugin.files.storage import full_disk_named, part_of, settle
from mast_plugin.running.interruption import uninterrupted
from mast_plugin.running.resumption import read_checkpoint

_ARGUMENTS = "args.json"
_DRAFT = ".args-"
_NAME = "ep={}.ckpt"


def complete(checkpointer: type) -> Any:
    """Return a subclass of a host's Checkpointer that saves on all ranks, the last epoch always.

    What carries a checkpoint's name is whole, and the one before it goes when it is on the disk.

    Release 1.0.2 saves on rank 0 alone; as the engine ends each saving with a barrier, more than
    one process would wait for ever. Both hosts skip the last epoch unless the frequency meets it.
    """

    class CompleteCheckpointer(checkpointer):  # type: ignore[misc]
        path: Path
        ckpt_placeholder: str

        def __init__(self, cfg: Any, logdir: str, frequency: int, keep_prev: bool) -> None:
            super().__init__(cfg, logdir, frequency, keep_prev)
            self.keep_all = keep_prev

        def initial_setup(self, trainer: Any) -> None:
            super().initial_setup(trainer)
            # The folder has the run's name already; older versions kept the host's choice.
            patterns = [name.format("*") for name in (_NAME, self.ckpt_placeholder)]
            self.ckpt_placeholder = _NAME
            if trainer.is_global_zero:
                self.last_ckpt = _take_up(self.path, trainer.ckpt_path, patterns, self.keep_all)

        def save_args(self, trainer: Any) -> None:
            if trainer.is_global_zero:
                with _elsewhere(self):
                    super().save_args(trainer)

        def save(self, trainer: Any) -> None:
            if trainer.sanity_checking:
                return
            path = self.path / self.ckpt_placeholder.format(trainer.current_epoch)
            with uninterrupted():
                _replace(None if self.keep_all else self.last_ckpt, path, trainer)
            self.last_ckpt = path

        def on_train_epoch_end(self, trainer: Any, _: Any) -> None:
            is_last = trainer.current_epoch + 1 == trainer.max_epochs
            if is_last or trainer.current_epoch % self.frequency == 0:
                self.save(trainer)

    return CompleteCheckpointer


@contextmanager
def _elsewhere(checkpointer: Any) -> Iterator[None]:
    """Have the arguments written beside their place: a kill would leave half of what is there."""
    folder = checkpointer.path
    with TemporaryDirectory(prefix=_DRAFT, dir=folder) as place:
        checkpointer.path = Path(place)
        try:
            yield
        finally:
            checkpointer.path = folder
        settle(Path(place) / _ARGUMENTS, folder / _ARGUMENTS)


def _replace(outdated: Path | None, path: Path, trainer: Any) -> None:
    """Write a checkpoint on rank 0, then remove the one before it; all ranks take part.

    Raises:
        StorageError: the disk is full; what was there before still is.
    """
    part = part_of(path)
    try:
        with full_disk_named(path):
            trainer.save_checkpoint(part, weights_only=False)
            if trainer.is_global_zero:
                settle(part, path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk, the next attempt needs the room
        raise
    if trainer.is_global_zero and outdated is not None and outdated != path:
        outdated.unlink(missing_ok=True)


def _take_up(
    folder: Path, resumed: str | None, patterns: Iterable[str], keep_all: bool
) -> Path | None:
    """Tidy up after an interrupted session of the same run.

    It may have been killed before it could remove a part, or the checkpoint before the last.

    Args:
        folder: of the run.
        resumed: what this session goes on from.
        patterns: of the run's checkpoints.
        keep_all: whether this session keeps every checkpoint.

    Returns:
        The checkpoint that the next one replaces; ``None`` where this is no resumption in place.
    """
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)
    for place in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(place)
    if not resumed or Path(resumed).parent.absolute() != folder.absolute():
        return None
    last = folder / Path(resumed).name
    if not keep_all and not _kept_all(folder):
        for path in (path for pattern in patterns for path in folder.glob(pattern)):
            if path != last:
                path.unlink(missing_ok=True)
    return last


def _kept_all(folder: Path) -> bool:
    """Whether the last session kept every checkpoint; also where that cannot be known any more."""
    try:
        content = json.loads((folder / _ARGUMENTS).read_text(encoding="utf-8"))
        return bool(content["checkpoint"]["keep_prev"])
    except (OSError, ValueError, KeyError, TypeError):
        return True


def streaming_io(engine: ModuleType) -> Any:
    """The engine's plugin that writes checkpoints, without its detours, and reads them safely.

    Lightning makes two copies in memory first, and Lightning 2 one in the system's temporary
    folder, which a kill leaves there and which may be full while the run's own disk is not.

    It leaves it to torch whether a checkpoint may run code, which a variable of the environment
    decides, and fails on the functions that some of the hosts' schedules keep.
    """

    class StreamingIO(engine.plugins.io.TorchCheckpointIO):  # type: ignore[misc, name-defined]
        def save_checkpoint(self, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            # An open file, as torch forgets why a path could not be written.
            with path.open("wb") as file:
                torch.save(checkpoint, file)

        def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
            return read_checkpoint(Path(path))

    return StreamingIO()
