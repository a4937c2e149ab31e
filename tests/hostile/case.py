"""One case: some input in a folder of its own, an entry point, and whether it ended as it must."""

import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast_plugin.errors import MASTError

LIMIT_S = 30.0
"""A case that takes longer hangs; the slowest that ended took two seconds on a busy core."""
_LONGEST_SENTENCE = 3000
_REMADE = (".idx",)
"""What the project may write anew where it is older than what it is about."""


class Hang(BaseException):
    """A case ran out of time; no ``except Exception`` of the project's can swallow it."""


@dataclass(frozen=True)
class Kind:
    """A kind of hostile input.

    Attributes:
        name: on the command line and in tables.
        weight: its share of the cases.
        make: writes a case's input into the working directory, and returns the call of the entry
            point, which may return anything and may raise the project's own errors.
    """

    name: str
    weight: int
    make: Callable[[random.Random], Callable[[], object]]


class Failure(AssertionError):  # noqa: N818
    """A case that ended in neither a result nor one clear error, with all that is known of it."""


def attempt(kind: Kind, seed: int, folder: Path) -> str:
    """Run one case.

    Args:
        kind: of the input.
        seed: from which the input is drawn.
        folder: made for the case, and removed after it.

    Returns:
        ``result`` or ``refusal``.

    Raises:
        Failure: a hang, an error of another type, a sentence of several lines, or a file that was
            there before and is not, or not as it was.
    """
    folder.mkdir(parents=True)
    rng = random.Random(f"{kind.name} {seed}")
    try:
        with _inside(folder):
            call = kind.make(rng)
            before = _snapshot(folder)
            ending = _judged(call)
            lost = [name for name, digest in before.items() if _digest(folder / name) != digest]
        if lost:
            raise Failure(f"{lost[0]} was changed or removed")
    except Failure as failure:
        raise Failure(f"{kind.name} {seed}: {failure}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ending


def _judged(call: Callable[[], object]) -> str:
    try:
        with _watched(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            call()
    except MASTError as error:
        sentence = str(error)
        if "\n" in sentence or not 10 < len(sentence) <= _LONGEST_SENTENCE:
            raise Failure(f"not one sentence: {sentence!r:.500}") from None
        return "refusal"
    except Hang:
        raise Failure(f"it hangs:\n{traceback.format_exc(limit=-6)}") from None
    except BaseException:
        raise Failure(traceback.format_exc(limit=-8)) from None
    return "result"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    outside = Path.cwd()
    os.chdir(folder)  # what a damaged path names is relative: it stays in here
    try:
        yield
    finally:
        os.chdir(outside)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Hang

    usual = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def _snapshot(folder: Path) -> dict[str, str]:
    names = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return {name: _digest(folder / name) for name in names if not name.endswith(_REMADE)}


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "folder" if path.is_dir() else "special" if path.exists() else "nothing"
    return hashlib.sha256(path.read_bytes()).hexdigest()
