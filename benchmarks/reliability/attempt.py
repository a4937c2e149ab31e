"""One attempt at a run: a fork of a process that has imported all, and a kill aimed at it."""

import multiprocessing.util
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast_plugin.pretrain import pretrain
from mast_plugin.running.command import answer

EVENTS = {"open": "writing", "os.rename": "naming", "os.remove": "removing"}
"""What Python reports just before it happens, and what a kill there is called."""


@dataclass(frozen=True)
class Aim:
    """Kill the process a while after the n-th event of a kind."""

    event: str
    count: int
    delay_s: float

    def install(self, folder: Path) -> None:
        """Watch this process; it cannot be undone."""
        seen = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event != self.event or not self._concerns(folder, event, arguments):
                return
            seen += 1
            if seen == self.count:
                threading.Thread(target=self._kill, daemon=True).start()

        sys.addaudithook(watch)

    def _concerns(self, folder: Path, event: str, arguments: tuple[Any, ...]) -> bool:
        path = Path(str(arguments[0]))
        wanted = path.name.endswith(".ckpt" if event == "os.remove" else ".ckpt.part")
        is_write = event != "open" or "w" in str(arguments[1])
        return wanted and is_write and folder in path.parents

    def _kill(self) -> None:
        time.sleep(self.delay_s)
        os.kill(os.getpid(), signal.SIGKILL)


def start(cfg: Any, folder: Path, aim: Aim | None = None) -> int:
    """Fork a process that pretrains; returns its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        log = os.open(folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if aim:
            aim.install(folder)
        answer("mast-pretrain", lambda: pretrain(cfg))
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        multiprocessing.util._exit_function()  # ends the loader's workers, as an interpreter does
        os._exit(status)


def printed(folder: Path) -> str:
    """Return the end of what the attempts have printed."""
    return folder.with_suffix(".log").read_text()[-4000:]


def wait(process: int, seconds: float) -> int | None:
    """Wait for a process; returns its status, negative after a signal, or None if it still runs."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.001)
