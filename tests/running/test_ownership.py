"""One process at a time writes into a run's folder; what was killed is not in the way."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mast_plugin.errors import ConfigurationError, StorageError
from mast_plugin.running import ownership
from mast_plugin.running.command import is_first_process
from mast_plugin.running.ownership import owned, owner_of, this_process
from mast_plugin.running.run import claimed_run
from mast_plugin.setting.configuration import resolve

from ..files.test_checkpoint import largest_file

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from pathlib import Path
from mast_plugin.running.ownership import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

BEAT = """
import itertools, os, sys, time
for number in itertools.count():
    os.utime(sys.argv[1], ns=(number, number))
    time.sleep(0.02)
"""


def wait_until(holds) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def holder(tmp_path):
    """Another process that owns a folder."""
    started = []

    def start(folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(folder)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def test_a_folder_has_one_owner_and_none_afterwards(tmp_path, holder):
    folder = tmp_path / "run"
    process = holder(folder)
    assert owner_of(folder).pid == process.pid
    refused = pytest.raises(ConfigurationError, match=rf"process {process.pid} on .* is at work in")
    with refused, owned(folder):
        pass
    process.terminate()  # without a handler, as by a kill
    process.wait()
    with owned(folder):
        assert owner_of(folder) == this_process()
    assert not list(tmp_path.iterdir())


def test_a_killed_owner_that_nobody_waited_for_is_none(tmp_path, holder):
    folder = tmp_path / "run"
    process = holder(folder)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not owner_of(folder))  # a zombie, until its parent asks for its status
    assert process.returncode is None and lock_of(folder).exists()
    with owned(folder):
        pass


def test_a_process_of_the_same_number_is_another_one(tmp_path):
    folder = tmp_path / "run"
    me = this_process()
    before = {"place": me.place, "pid": me.pid, "started": "1"}
    lock_of(folder).write_text(json.dumps(before))
    assert owner_of(folder) is None
    with owned(folder):
        assert owner_of(folder) == me


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": 1}', '{"place": 1, "pid": "", "started": 2}']
)
def test_a_damaged_lock_names_nobody(tmp_path, content):
    lock_of(tmp_path / "run").write_text(content)
    with owned(tmp_path / "run"):
        pass


def test_of_another_machine_the_sign_of_life_counts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ownership, "PATIENCE_S", 0.5)
    folder, lock = tmp_path / "run", lock_of(tmp_path / "run")
    lock.write_text(json.dumps({"place": "node7/boot/pid", "pid": 1, "started": "2"}))
    with subprocess.Popen([sys.executable, "-c", BEAT, str(lock)]) as elsewhere:
        wait_until(lambda: lock.stat().st_mtime_ns < 10**15)
        refused = pytest.raises(ConfigurationError, match="process 1 on node7 is at work")
        with refused, owned(folder):
            pass
        elsewhere.kill()
    assert "waiting up to" in capsys.readouterr().err
    with owned(folder):  # it is silent now
        assert owner_of(folder) == this_process()


def test_an_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "BEAT_S", 0.02)
    with owned(tmp_path / "run"):
        os.utime(lock_of(tmp_path / "run"), ns=(1, 1))
        wait_until(lambda: lock_of(tmp_path / "run").stat().st_mtime_ns > 1)


def take(folder: Path, barrier, results) -> None:
    parse = ownership._parse

    def slowly(file):
        found = parse(file)
        time.sleep(0.05)  # in which another could look as well
        return found

    ownership._parse = slowly
    barrier.wait()
    try:
        with owned(folder):
            results.put("owner")
            time.sleep(2)
    except ConfigurationError:
        results.put("refused")


def test_of_many_that_find_a_stale_lock_at_once_one_takes_it(tmp_path):
    context = multiprocessing.get_context("fork")
    me = this_process()
    for trial in range(2):
        folder = tmp_path / str(trial)
        stale = {"place": me.place, "pid": me.pid, "started": "1"}
        lock_of(folder).write_text(json.dumps(stale))
        barrier, results = context.Barrier(8), context.SimpleQueue()
        processes = [
            context.Process(target=take, args=(folder, barrier, results)) for _ in range(8)
        ]
        for process in processes:
            process.start()
        found = [results.get() for _ in processes]
        for process in processes:
            process.join()
        assert sorted(found) == ["owner"] + ["refused"] * 7


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(ConfigurationError, match=r"choose another checkpoint\.dir")
    with refused, owned(tmp_path / "file" / "run"):
        pass
    refused = pytest.raises(StorageError, match="free some space, then start again")
    with largest_file(5), refused, owned(tmp_path / "run"):
        pass


# --- which folder a run takes --------------------------------------------------------------------


def test_a_second_identical_start_takes_a_folder_of_its_own(small, holder):
    cfg = resolve(small("mast"))
    with claimed_run(cfg) as first:
        pass
    holder(first.folder)  # which has not written anything yet
    with claimed_run(cfg) as second:
        assert second.folder == first.folder.with_name(f"{first.folder.name}-2")


def test_a_run_that_would_go_on_in_place_is_refused(small, holder):
    cfg = resolve(small("mast", "auto_resume.enabled=true"))
    with claimed_run(cfg) as first:
        pass
    holder(first.folder)
    with pytest.raises(ConfigurationError, match="is at work in"), claimed_run(cfg):
        pass


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "4", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"NODE_RANK": "0"}, True),
    ],
)
def test_only_the_first_process_of_all_machines_takes_the_lock(
    small, monkeypatch, variables, first
):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first
    with claimed_run(resolve(small("mast"))) as run:
        assert lock_of(run.folder).exists() is first


# --- children ------------------------------------------------------------------------------------

PARENT = """
import subprocess, sys, time
from mast_plugin.running.parentage import environment
print(subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=environment()).pid, flush=True)
time.sleep(60)
"""
CHILD = """
import os, time
from mast_plugin.running import parentage
{change}
parentage.end_with_parent()
assert "MAST_PARENT_PID" not in os.environ
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("change", ["", "parentage._ask_kernel = lambda: False"])
def test_a_child_ends_with_a_parent_that_is_killed(change):
    command = [sys.executable, "-c", PARENT, CHILD.format(change=change)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        parent.wait()
        wait_until(lambda: not ownership._started(child))
