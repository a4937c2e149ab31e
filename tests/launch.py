"""Starts the processes of a distributed test and waits for all of them."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PATIENCE_S = 150.0


def launch(commands: Sequence[Sequence[str]], cwd: Path) -> list[str]:
    """Run commands side by side and return what each printed; the first failure ends them all."""
    logs = [cwd / f"{i}.log" for i in range(len(commands))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = []
    for command, log in zip(commands, logs, strict=True):
        with log.open("w") as file:
            options = {"stdout": file, "stderr": subprocess.STDOUT}
            processes.append(subprocess.Popen(command, cwd=cwd, env=environment, **options))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        statuses = [process.poll() for process in processes]
        if any(statuses) or None not in statuses:
            break
        time.sleep(0.05)
    for process in processes:
        process.kill()  # those that wait for one that failed
        process.wait()
    printed = [log.read_text() for log in logs]
    assert statuses == [0] * len(processes), "\n".join(printed)
    return printed


def launch_ranks(script: Path, world: int, folder: Path) -> None:
    """Run a script as each of ``world`` processes, which find rank, world and folder in argv."""
    commands = [
        [sys.executable, str(script), str(rank), str(world), str(folder)] for rank in range(world)
    ]
    launch(commands, folder)
