"""A run's folder: named by its configuration, so that only the same run is ever resumed."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mast_plugin.errors import ConfigurationError, shown
from mast_plugin.files.document import read_document
from mast_plugin.files.storage import whole_file
from mast_plugin.running.command import is_first_process
from mast_plugin.running.ownership import owned, owner_of

# What may change between an interruption and its resumption without changing what is computed.
_INCIDENTAL = (
    "checkpoint",
    "auto_resume",
    "resume_from_checkpoint",
    "wandb",
    "enable_progress_bar",
    "evaluation",
    "init_from",  # where the weights lie; their digest is essential
)
_LENGTH = ("max_epochs", "scheduler.warmup_epochs")
_UNSEEN = (*_INCIDENTAL, "wandb_run_id")  # the last is the host's own


@dataclass(frozen=True)
class Run:
    """Where a run writes, and the checkpoint that it goes on from.

    Attributes:
        folder: ``<checkpoint.dir>/<method>/<name>-<digest>``; a repetition of a run that is not
            resumed gets ``-2``, ``-3`` and so on, so that nothing is overwritten.
        resume_from: a checkpoint, or ``None`` for a fresh start.
    """

    folder: Path
    resume_from: Path | None


def open_run(cfg: DictConfig) -> Run:
    """Choose the folder of a resolved configuration's run, without writing anything.

    Raises:
        ConfigurationError: ``resume_from_checkpoint`` does not exist.
    """
    base = Path(cfg.checkpoint.dir) / cfg.method / f"{cfg.name}-{_digest(cfg)}"
    if cfg.resume_from_checkpoint is not None:
        checkpoint = Path(cfg.resume_from_checkpoint)
        if not checkpoint.is_file():
            wrong = "is a folder" if checkpoint.is_dir() else "does not exist"
            raise ConfigurationError(
                f"resume_from_checkpoint names {checkpoint}, which {wrong}: "
                "give the path of a .ckpt file, or null to start afresh"
            )
        return Run(_unused(base), checkpoint)
    if cfg.auto_resume.enabled:
        return Run(base, latest_checkpoint(base))
    return Run(_unused(base), None)


@contextmanager
def claimed_run(cfg: DictConfig) -> Iterator[Run]:
    """Choose the folder as :func:`open_run` does, and own it.

    Of a run's processes, on however many machines, the first owns it for all of them.

    Raises:
        ConfigurationError: as :func:`open_run`; or the folder of the run that is to go on belongs
            to another process. A run that starts anew takes the next free folder instead.
    """
    if not is_first_process():
        yield open_run(cfg)
        return
    with ExitStack() as stack:
        run = open_run(cfg)
        while True:
            try:
                stack.enter_context(owned(run.folder))
                break
            except ConfigurationError:
                following = open_run(cfg)  # somebody was faster
                if following.folder == run.folder:
                    raise
                run = following
        yield run


def is_finished(cfg: DictConfig, run: Run) -> bool:
    """Whether a run that would be gone on with has nothing left to do."""
    is_scored = cfg.evaluation.dataset is None or not cfg.evaluation.score
    is_scored = is_scored or (run.folder / "evaluation.json").is_file()
    in_place = run.resume_from is not None and run.resume_from.parent == run.folder
    return in_place and is_scored and last_epoch(run.folder) == cfg.max_epochs - 1


def other_configuration(cfg: DictConfig, run: Run) -> str:
    """A line on why there is nothing to go on from, though a run of the same name is there.

    Args:
        cfg: resolved configuration.
        run: what it opens.

    Returns:
        Which keys differ from those of the run of that name that is most alike; empty where the
        run goes on, or there is no other.
    """
    if run.resume_from is not None:
        return ""
    own = _flat(_essential(cfg))
    nearest: tuple[list[str], Path, dict[str, Any]] | None = None
    for file in run.folder.parent.glob(f"{cfg.name}-*/args.json"):
        try:
            known = read_document(file)
        except ValueError:
            continue
        if file.parent == run.folder or not isinstance(known, dict):
            continue
        flat = _stored(known)
        keys = _differing(own, flat)
        if known.get("name") == cfg.name and (nearest is None or len(keys) < len(nearest[0])):
            nearest = keys, file.parent, flat
    if nearest is None:
        return ""
    keys, folder, flat = nearest
    return f"auto_resume starts anew: {folder} differs in {_listed(keys, flat, own)}"


def changed_configuration(cfg: DictConfig, run: Run) -> str:
    """A line on what a run changes of the one that ``resume_from_checkpoint`` goes on from.

    Args:
        cfg: resolved configuration.
        run: what it opens.

    Returns:
        Which keys differ, but for the length of the run; empty where none does, or where no
        ``args.json`` lies beside the checkpoint.
    """
    if run.resume_from is None or run.resume_from.parent == run.folder:
        return ""
    try:
        known = read_document(run.resume_from.parent / "args.json")
    except ValueError:
        return ""
    if not isinstance(known, dict):
        return ""
    own, flat = _flat(_essential(cfg)), _stored(known)
    keys = [key for key in _differing(own, flat) if key not in _LENGTH]
    listed = _listed(keys, flat, own)
    return f"the run goes on otherwise than it began, in {listed}" if keys else ""


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the latest epoch in a folder, if there is one."""
    epochs = _checkpoints(folder)
    return epochs[max(epochs)] if epochs else None


def last_epoch(folder: Path) -> int | None:
    """Return the latest epoch, counted from 0, of which a folder has a checkpoint."""
    return max(_checkpoints(folder), default=None)


def _checkpoints(folder: Path) -> dict[int, Path]:
    return {
        int(match.group(1)): path
        for path in folder.glob("*.ckpt")
        if (match := re.search(r"ep=(\d+)\.ckpt$", path.name))
    }


@contextmanager
def metrics_kept(folder: Path) -> Iterator[None]:
    """Move the metrics of an interrupted run aside: the engine's logger would delete them.

    They come back where the session that follows logs none of its own.
    """
    metrics = folder / "metrics.csv"
    aside = folder / f"metrics.before-{len(list(folder.glob('metrics.before-*.csv'))) + 1}.csv"
    if metrics.is_file():
        metrics.rename(aside)
    try:
        yield
    finally:
        if aside.is_file() and not metrics.exists():
            aside.rename(metrics)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, creating its folder; what was there stays until the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def _digest(cfg: DictConfig) -> str:
    essential = json.dumps(_essential(cfg), sort_keys=True)
    return hashlib.sha256(essential.encode()).hexdigest()[:8]


def _essential(cfg: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key not in _INCIDENTAL}


def _stored(known: dict[str, Any]) -> dict[str, Any]:
    return _flat({key: each for key, each in known.items() if key not in _UNSEEN})


def _differing(own: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(key for key in own.keys() | other if own.get(key) != other.get(key))


def _listed(keys: list[str], before: dict[str, Any], now: dict[str, Any]) -> str:
    listed = ", ".join(f"{k} ({shown(before.get(k))}, now {shown(now.get(k))})" for k in keys[:3])
    return listed + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    """Values by their keys, with a dot for each level."""
    if isinstance(content, dict | list) and content:
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        parts = (_flat(value, f"{path}.{key}".lstrip(".")) for key, value in pairs)
        return {key: value for part in parts for key, value in part.items()}
    return {path: content}


def _unused(base: Path) -> Path:
    candidate, count = base, 1
    while candidate.exists() or (is_first_process() and owner_of(candidate)):
        count += 1
        candidate = base.with_name(f"{base.name}-{count}")
    return candidate
