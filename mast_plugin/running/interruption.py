"""SIGTERM and Ctrl-C: the run stops at once, with one sentence, and no process stays behind.

What is kept is the checkpoint of the last epoch that ended with one: it resumes bit for bit, which
a state from the middle of an epoch would not do on either engine. See docs/reliability.md.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

_GRACE_S = 5.0
"""How long other processes of a run may take to end by themselves."""
_DELAY_S = 0.2


class Interruption(BaseException):
    """The process was asked to stop. No ``Exception``, so that nothing takes it for a failure.

    Attributes:
        number: the signal.
        note: how to go on, for the message.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)
        self.note = ""

    @property
    def status(self) -> int:
        """What a command exits with: as a shell reports the signal, 143 or 130."""
        return 128 + self.number

    def __str__(self) -> str:
        name = "Ctrl-C" if self.number == signal.SIGINT else self.number.name
        return f"stopped by {name}{self.note and '; '}{self.note}"


class _Watch:
    """The one state of a process: signals are the process's own."""

    def __init__(self) -> None:
        self.owner: int | None = None
        self.arrived: int | None = None
        self.is_holding = False

    def handle(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self.owner:
            # A loader's worker has inherited this handler. Ctrl-C reaches it as well, but it is
            # the main process that ends it; anything else is meant for it.
            if number != signal.SIGINT:
                os._exit(128 + number)
            return
        if self.arrived is None:  # repeated signals must not break into the shutdown
            self.arrived = number
            # Torch's handler raises an error for every worker that a signal has ended. Python
            # reports a signal that was under way when it lost its handler: one that does nothing.
            signal.signal(signal.SIGCHLD, lambda *_: None)
            self.check()

    def check(self) -> None:
        if self.arrived is not None and not self.is_holding:
            raise Interruption(self.arrived)


_WATCH = _Watch()


def _signals() -> list[signal.Signals]:
    watched = [signal.SIGINT, signal.SIGTERM]
    # SLURM may announce the end of a job by SIGUSR1. Lightning would then save in the middle of an
    # epoch, beside all other runs of the working directory, and requeue the job.
    return [*watched, signal.SIGUSR1] if "SLURM_JOB_ID" in os.environ else watched


@contextmanager
def watched() -> Iterator[None]:
    """Turn the signals that ask a process to stop into :class:`Interruption`, in its main thread.

    Once one has arrived, further ones are ignored for good: the process is about to end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _signals()}
    _WATCH.owner, _WATCH.arrived, _WATCH.is_holding = os.getpid(), None, False
    _install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _WATCH.arrived else handler)
        _WATCH.owner = _WATCH.arrived = None


def _install() -> None:
    for number in _signals():
        signal.signal(number, _WATCH.handle)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let what takes moments and must not be cut, the writing of a checkpoint, end first.

    Raises:
        Interruption: at the end, if a signal arrived meanwhile.
    """
    _WATCH.is_holding = True
    try:
        yield
    finally:
        _WATCH.is_holding = False
    _WATCH.check()


def arrived() -> Interruption | None:
    """The interruption under way, if there is one: other errors may be raised over it.

    It may come a moment later than its consequences: a signal to all processes ends the loader's
    workers, which is an error in itself.
    """
    try:
        if _WATCH.arrived is None:
            time.sleep(_DELAY_S)
    except Interruption as stop:
        return stop
    return None if _WATCH.arrived is None else Interruption(_WATCH.arrived)


def stopping(engine: ModuleType) -> Any:
    """A callback that keeps the watch while the engine trains.

    Args:
        engine: whose ``Callback`` it is.
    """

    class Stopping(engine.Callback):  # type: ignore[misc, name-defined]
        def on_sanity_check_start(self, trainer: Any, _: Any) -> None:
            self._take_back()

        def on_train_start(self, trainer: Any, _: Any) -> None:
            self._take_back()

        def _take_back(self) -> None:
            # Lightning 2 puts a handler of its own in front, which starts a collective from
            # wherever the signal struck: with several processes it may wait for ever.
            if _WATCH.owner == os.getpid():
                _install()

        def on_train_batch_start(self, *_: Any) -> None:
            _WATCH.check()  # an exception that was raised inside a destructor is lost

        def on_exception(self, trainer: Any, _: Any, error: BaseException) -> None:
            launcher = getattr(trainer.strategy, "launcher", None)
            processes = getattr(launcher, "procs", None) or []
            # An error may be everybody's: then all end by themselves, their loaders included.
            if not isinstance(error, Interruption):
                _wait(processes)
            _end(processes)

    return Stopping()


def _end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """End the processes of other devices, which may be waiting for this one in a collective."""
    for process in processes:
        process.terminate()
    _wait(processes)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(processes: "list[subprocess.Popen[bytes]]") -> None:
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.05)
