"""Processes that end with the one that started them, however that one ends.

The parent passes :func:`environment` on, or starts them while :func:`adopting`; the child calls
:func:`end_with_parent` first of all.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_PARENT = "MAST_PARENT_PID"
_PR_SET_PDEATHSIG = 1
_LOOK_S = 1.0


def environment() -> dict[str, str]:
    """This process's environment variables, for a child that is to end with it."""
    return {**os.environ, **_mark()}


@contextmanager
def adopting() -> Iterator[None]:
    """Pass the variable on to whatever is started meanwhile, by the engine for instance."""
    os.environ.update(_mark())
    try:
        yield
    finally:
        os.environ.pop(_PARENT, None)


def _mark() -> Mapping[str, str]:
    """The variable that tells a child which process it is to end with."""
    return {_PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """Have this process get SIGTERM when its parent ends, if that parent asked for it.

    What this process starts itself is not meant: the variable is taken away.
    """
    parent = os.environ.pop(_PARENT, "")
    if not parent:
        return
    if not _ask_kernel():
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    if str(os.getppid()) != parent:  # it ended before this was arranged
        os.kill(os.getpid(), signal.SIGTERM)


def _ask_kernel() -> bool:
    """Linux sends a signal at a parent's end; whether it will."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch(parent: int) -> None:
    """Elsewhere, an orphan is given another parent."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
