"""Hostile input of every kind: always a result or one of the project's own errors.

benchmarks/reliability/fuzz.py runs the same kinds by the thousand.
"""

from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ..hostile.case import attempt
from ..hostile.configuration import KINDS as CONFIGURATIONS
from ..hostile.file import KINDS as FILES

pytestmark = pytest.mark.slow

CASES = {
    "pretraining configuration": 100,
    "pretraining without steps": 6,
    "recipe file": 50,  # of which few are whole
    "evaluation options": 20,
    "comparison options": 6,
    "args.json of a checkpoint": 6,
    "image": 150,
    "table of labels": 70,
    "table of images": 70,
    "tar shard": 90,
    "checkpoint": 90,
}


def test_there_are_cases_enough():
    assert sum(CASES.values()) >= 500


@pytest.mark.parametrize("kind", [*CONFIGURATIONS, *FILES], ids=lambda kind: kind.name)
def test_every_case_ends_in_a_result_or_in_one_clear_error(kind, host, tmp_path):
    endings = Counter()

    @settings(
        max_examples=CASES[kind.name],
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failure names its case, and a smaller number is no simpler one
    )
    @given(seed=st.integers(0, 2**32 - 1))
    def run(seed: int) -> None:
        endings[attempt(kind, seed, tmp_path / "case")] += 1

    run()
    assert sum(endings.values()) >= CASES[kind.name]
    # Were all refused, or none, the cases would not be what they are meant to be.
    assert endings["result"] and endings["refusal"]
