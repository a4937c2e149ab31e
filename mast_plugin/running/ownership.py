"""One process at a time writes into a run's folder.

A lock file beside the folder names its owner: the machine, the process and when that process
started, so that a number that the system has given to another process since is not taken for it.
What a killed owner leaves is recognised and taken over. On another machine that shares the folder,
a process cannot be looked up: there the owner's sign of life counts, which it gives every few
seconds.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from mast_plugin.errors import ConfigurationError, StorageError
from mast_plugin.files.storage import full_disk_named
from mast_plugin.running.command import say

BEAT_S = 5.0
"""How often an owner gives a sign of life."""
PATIENCE_S = 60.0
"""For how long one is waited for on another machine; file systems show changes late."""


@dataclass(frozen=True)
class Owner:
    """A process.

    Attributes:
        place: where its number means something: host, boot and namespace.
        pid: its number there.
        started: when it started, as the system tells it.
    """

    place: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.place.partition('/')[0]}"


def this_process() -> Owner:
    """The process that asks."""
    return Owner(_place(), os.getpid(), _started(os.getpid()) or "")


def owner_of(folder: Path) -> Owner | None:
    """The living process that owns a folder; takes up to ``PATIENCE_S`` for another machine's."""
    lock = _lock_of(folder)
    found = _read(lock)
    return found if found and _is_alive(found, lock) else None


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder, which need not be there yet.

    Raises:
        ConfigurationError: another process owns it, or nothing can be written there.
        StorageError: the disk is full.
    """
    lock, me = _lock_of(folder), this_process()
    try:
        with full_disk_named(lock):
            folder.parent.mkdir(parents=True, exist_ok=True)
            owner = _take(lock, me)
    except StorageError as error:
        raise StorageError(f"{error}; free some space, then start again") from error
    except OSError as error:
        raise ConfigurationError(
            f"{lock} cannot be written ({error.strerror}): choose another checkpoint.dir"
        ) from error
    if owner:
        raise ConfigurationError(
            f"{owner} is at work in {folder}: wait for it, or stop it, then start again"
        )
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(lock, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        if os.getpid() == me.pid:  # a fork leaves by this way as well
            stop.set()
            beat.join()
            with suppress(OSError), _held(lock) as file:
                if _parse(file) == me:
                    lock.unlink()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _take(lock: Path, me: Owner) -> Owner | None:
    """Write this process into the lock; if another owns it, return that one instead."""
    before: Owner | None = None
    while True:
        with _held(lock) as file:
            found = _parse(file)
            # An owner of another machine that was waited for in vain, or nobody at all.
            if found is None or found == before or _is_gone(found):
                file.seek(0)
                file.truncate()
                json.dump(asdict(me), file)
                return None
        if _is_alive(found, lock):
            return found
        before = found


@contextmanager
def _held(lock: Path) -> Iterator[IO[str]]:
    """The lock file, made where there is none, which no other process looks at meanwhile."""
    while True:
        with os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
            with suppress(OSError):  # file systems that cannot do it
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                is_current = os.fstat(file.fileno()).st_ino == lock.stat().st_ino
            except FileNotFoundError:
                is_current = False
            if is_current:  # and not removed by an owner that ended just now
                yield file
                return


def _read(lock: Path) -> Owner | None:
    try:
        with lock.open() as file:
            return _parse(file)
    except OSError:
        return None


def _parse(file: IO[str]) -> Owner | None:
    """Whom a lock names; nobody where it is empty or damaged."""
    file.seek(0)
    with suppress(ValueError, TypeError):
        owner = Owner(**json.load(file))
        if isinstance(owner.pid, int) and isinstance(owner.place, str):
            return owner
    return None


def _is_gone(owner: Owner) -> bool:
    """Whether it is a process of this machine that has ended."""
    return owner.place == _place() and _started(owner.pid) != owner.started


def _is_alive(owner: Owner, lock: Path) -> bool:
    if owner.place == _place():
        return not _is_gone(owner)
    say(f"{owner} may be at work beside {lock}: waiting up to {PATIENCE_S:.0f} s for a sign of it")
    first, deadline = _last_beat(lock), time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        time.sleep(min(1.0, PATIENCE_S / 10))
        if _last_beat(lock) != first:
            return _read(lock) is not None
    return False


def _last_beat(lock: Path) -> int:
    try:
        with lock.open() as file:  # to open it makes a network's file system look again
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return 0


def _beat(lock: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_S):
        with suppress(OSError):
            os.utime(lock)


def _place() -> str:
    """Two processes with the same one see each other's numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """When a process started, in a notation that only compares; ``None`` where it has ended."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name in front may hold anything
        return None if fields[0] in "ZX" else fields[19]
    import subprocess

    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip() or None
