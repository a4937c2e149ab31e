"""What the fuzzing takes for a failure; without this it could pass by seeing nothing."""

import random
import time
from pathlib import Path

import pytest

from mast_plugin.errors import ConfigurationError

from ..hostile import case
from ..hostile.case import Failure, Kind, attempt


def ends(call, tmp_path) -> str:
    def make(_: random.Random):
        Path("input").write_text("whole")
        return call

    return attempt(Kind("made up", 1, make), 7, tmp_path / "case")


def refuse(sentence: str = "this cannot be used: mend it"):
    raise ConfigurationError(sentence)


def test_a_result_and_a_refusal_are_told_apart(tmp_path):
    assert ends(lambda: 1, tmp_path) == "result"
    assert ends(refuse, tmp_path) == "refusal"


@pytest.mark.parametrize(
    "call",
    [
        lambda: 1 / 0,
        lambda: refuse("two\nlines"),
        lambda: refuse("x" * 5000),
        lambda: refuse(""),
        lambda: Path("input").unlink(),
        lambda: Path("input").write_text("changed"),
        lambda: exit(1),
    ],
    ids=["another error", "lines", "endless", "empty", "removed", "changed", "exit"],
)
def test_any_other_ending_is_a_failure_that_names_its_case(call, tmp_path):
    with pytest.raises(Failure, match=r"^made up 7: "):
        ends(call, tmp_path)


def test_a_hang_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(case, "LIMIT_S", 0.1)
    with pytest.raises(Failure, match="it hangs"):
        ends(lambda: time.sleep(5), tmp_path)


def test_a_case_leaves_nothing_behind(tmp_path):
    ends(lambda: Path("new").write_text("output"), tmp_path)
    assert not list(tmp_path.iterdir())
