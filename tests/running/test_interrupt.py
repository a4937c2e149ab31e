"""Runs that are killed, terminated or interrupted: what they say, leave behind and go on from."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from mast_plugin.running.interruption import Interruption, arrived, uninterrupted, watched

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0


def test_a_run_killed_20_times_ends_where_one_left_alone_ends():
    """Weights, optimiser, schedule and all else of the last checkpoint, bit for bit."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "reliability" / "kill.py"), "--kills", "20"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "kills: 20" in result.stdout
    assert "differences in the last checkpoint: none" in result.stdout


# --- signals to a real command -------------------------------------------------------------------


class Command:
    """``main_pretrain.py`` with two loading processes, in a session of its own."""

    def __init__(self, overrides: list[str], folder: Path) -> None:
        self.folder = folder
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "main_pretrain.py"), "--config-name", "mast", *overrides],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def wait_for_epoch(self, number: int) -> None:
        """Wait until an epoch's checkpoint is there, and the loader's processes with it."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.epochs() or max(self.epochs()) < number:
            assert self.process.poll() is None and time.monotonic() < deadline, self.printed()
            time.sleep(0.05)
        assert len(self.members()) >= 3

    def epochs(self) -> set[int]:
        names = [path.stem for path in self.folder.glob("runs/mast/*/*.ckpt")]
        return {int(name.rpartition("=")[2]) for name in names}

    def members(self) -> list[str]:
        """What still runs of the session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(entry.name)
        return found

    def printed(self) -> str:
        return Path(self.log.name).read_text()

    def end(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@pytest.fixture
def command(cut_down, tmp_path) -> Iterator:
    """Start the same run, again and again."""
    started = []

    def start() -> Command:
        overrides = [*cut_down, "data.num_workers=2", "checkpoint.dir=runs", "max_epochs=10000"]
        overrides += ["checkpoint.frequency=1", "auto_resume.enabled=true"]
        overrides += ["optimizer.name=sgd", "~optimizer.kwargs.fused"]
        started.append(Command(overrides, tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.end()


def assert_stopped(run: Command, status: int, name: str) -> None:
    """It ended with one sentence that names a whole checkpoint, and nothing of it is left."""
    assert run.process.wait(PATIENCE_S) == status, run.printed()
    last = run.printed().splitlines()[-1]
    said, _, path = last.partition("; the same command goes on from ")
    assert said == f"mast-pretrain: stopped by {name}"
    assert torch.load(run.folder / path, weights_only=False)["global_step"] > 0
    assert "Traceback" not in run.printed()
    deadline = time.monotonic() + 5
    while run.members() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not run.members()
    assert len(run.epochs()) == 1 and not list(run.folder.rglob("*.part"))


def test_sigterm_and_ctrl_c_leave_a_sentence_a_checkpoint_and_no_process(command):
    first = command()
    first.wait_for_epoch(0)
    first.process.send_signal(signal.SIGTERM)  # as a scheduler does, to the main process
    assert_stopped(first, 128 + signal.SIGTERM, "SIGTERM")
    reached = max(first.epochs())

    second = command()
    second.wait_for_epoch(reached + 1)
    os.killpg(second.process.pid, signal.SIGINT)  # as a terminal does, to all processes
    assert_stopped(second, 128 + signal.SIGINT, "Ctrl-C")
    assert len(list(second.folder.glob("runs/mast/*"))) == 1


# --- the watch alone -----------------------------------------------------------------------------


def test_a_signal_becomes_an_interruption():
    with pytest.raises(Interruption) as caught, watched():
        signal.raise_signal(signal.SIGTERM)
    assert (str(caught.value), caught.value.status) == ("stopped by SIGTERM", 143)


def test_a_checkpoint_under_way_is_finished_first():
    written = []
    with pytest.raises(Interruption), watched(), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        written.append("whole")
    assert written == ["whole"]


def test_a_second_signal_does_not_break_into_the_shutdown():
    with watched():
        with pytest.raises(Interruption):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        found = arrived()
    assert found is not None and found.number == signal.SIGTERM


def test_the_watch_ends_with_the_work():
    before = signal.getsignal(signal.SIGTERM)
    with watched():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_on_slurm_the_announcement_of_the_end_stops_the_run_as_well(monkeypatch):
    """Lightning's own answer saves in the middle of an epoch, which does not resume exactly."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(Interruption, match="stopped by SIGUSR1"), watched():
        signal.raise_signal(signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """After an interruption, signals are ignored for good; the tests go on."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
