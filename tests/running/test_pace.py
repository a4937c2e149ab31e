"""What is said while work goes on: the time that is left, on a terminal and in a log file."""

import io
import sys

import pytest
import torch

from mast_plugin.comparison.countdown import Countdown
from mast_plugin.running import pace, progress
from mast_plugin.running.pace import pace_teller, smaller_size_advised
from mast_plugin.running.progress import duration

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59, "less than a minute"),
        (61, "about 1 minute"),
        (720, "about 12 minutes"),
        (3 * 3600, "about 3 hours"),
        (10 * 86400, "about 10 days"),
    ],
)
def test_times_are_said_in_words(seconds, words):
    assert duration(seconds) == words


def steps(host, monkeypatch, capsys, **given) -> str:
    """Five steps at 10 s each, after a first one of 100 s."""

    class Trainer:
        max_epochs, current_epoch, num_training_batches = 4, 1, 30
        max_steps, global_step, accumulate_grad_batches = -1, 33, 1
        is_global_zero = True

    class Module:
        device = torch.device("cpu")

    for name, value in given.items():
        setattr(Trainer, name, value)
    clock = iter([100.0, 120.0, 130.0])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    teller = pace_teller(host.engine)
    teller.on_train_start()
    for number in range(5):
        teller.on_train_batch_end(Trainer, Module, None, None, number)
    return capsys.readouterr().err


def test_after_the_third_step_the_time_that_is_left_is_said_once(host, monkeypatch, capsys):
    """Two further steps took 20 s; 87 steps are left in epochs 2 to 4."""
    said = steps(host, monkeypatch, capsys)
    assert said == "about 14 minutes left: steps of 10 s, 87 of them\n"


def test_a_limit_of_steps_counts(host, monkeypatch, capsys):
    said = steps(host, monkeypatch, capsys, max_steps=40, accumulate_grad_batches=2)
    assert said.endswith("14 of them\n")


def test_other_processes_are_silent(host, monkeypatch, capsys):
    assert steps(host, monkeypatch, capsys, is_global_zero=False) == ""


def test_a_smaller_size_is_named_on_a_cpu_alone():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert "crop_size=64 a step takes about a 12th" in smaller_size_advised(cpu, 224)
    assert smaller_size_advised(cpu, 96) == smaller_size_advised(gpu, 224) == ""


def test_a_run_says_so_before_it_starts(small, capsys):
    import warnings

    from mast_plugin.pretrain import pretrain

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        pretrain(small("mast", "augmentations=imagenet", "optimizer.batch_size=2"))
    assert any(
        line.startswith("views of 224 px on a CPU") for line in capsys.readouterr().err.splitlines()
    )


# --- progress ------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """tqdm's time, which a test moves."""
    import tqdm.std

    class Clock:
        now = 1000.0

    monkeypatch.setattr(tqdm.std.tqdm, "_time", lambda _: Clock.now, raising=False)
    monkeypatch.setattr(tqdm.std, "time", lambda: Clock.now)
    return Clock


def test_a_log_file_gets_a_line_every_half_a_minute(clock, capsys):
    bar = progress.progress(None, "Features", total=100, unit="image")
    for _ in range(10):
        clock.now += 9
        bar.update(10)
    bar.close()
    lines = capsys.readouterr().err.split("\n")
    assert lines == [
        "Features: 40 of 100 images after 00:36, 00:54 left",
        "Features: 80 of 100 images after 01:12, 00:18 left",
        "",
    ]


def test_work_that_is_done_soon_is_not_reported(capsys):
    assert list(progress.progress(range(50), "a")) == list(range(50))
    bar = progress.progress(range(3), "a")
    for _ in bar:
        progress.describe(bar, "b")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress.progress(range(3), "work")) == [0, 1, 2]
    assert "\rwork:   0%" in sys.stderr.getvalue()
    assert progress.progress(range(3), shown=False).disable


# --- the runs of a comparison --------------------------------------------------------------------


class Trial:
    def __init__(self, *, is_finished: bool = False) -> None:
        self.is_finished = is_finished
        self.said = ""

    @property
    def cost(self):
        return {"seconds": 180.0} if self.is_finished else {}

    def pretrain(self, note: str) -> None:
        self.said, self.is_finished = note, True


def test_the_runs_are_counted_and_their_time_is_estimated():
    trials = [Trial(), Trial(is_finished=True), Trial(), Trial()]
    countdown = Countdown(trials)
    trials[1].cost  # noqa: B018
    for trial in trials:
        if not trial.is_finished:
            countdown.pretrain(trial)
    assert [trial.said for trial in trials] == [
        "run 1 of 3, about 9 minutes left",
        "",
        "run 2 of 3, about 6 minutes left",
        "run 3 of 3, about 3 minutes left",
    ]
    fresh = [Trial(), Trial()]
    Countdown(fresh, " of the search").pretrain(fresh[0])
    assert fresh[0].said == "run 1 of 2 of the search"
