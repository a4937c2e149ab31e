"""Intervals over few repetitions: Student's, within what is possible, and none of two values."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mast_plugin.comparison.estimate import as_text, compared, estimate
from mast_plugin.evaluation.interval import ACCURACY, DIFFERENCE, mean_interval
from mast_plugin.report.headline import several_methods
from mast_plugin.report.section import methods as methods_section


@pytest.mark.parametrize("limits", [ACCURACY, DIFFERENCE])
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_it_is_students_within_what_a_mean_can_be(limits, data):
    low, high = limits
    values = data.draw(st.lists(st.floats(low, high), min_size=3, max_size=8))
    found = mean_interval(values, limits)
    mean, error = np.mean(values), stats.sem(values)
    margin = stats.t.ppf(0.975, len(values) - 1) * error
    expected = max(low, mean - margin), min(high, mean + margin)
    assert found == pytest.approx(expected, abs=1e-6)
    ordered = (low, found[0], mean, found[1], high)
    assert all(first <= second + 1e-9 for first, second in pairwise(ordered))


@pytest.mark.slow
def test_cutting_costs_no_coverage():
    """Of accuracies near the end of the scale, as often as Student's whole interval does."""
    rng = np.random.default_rng(0)
    truth = 97.0
    draws = truth + np.clip(2 * rng.standard_normal((4000, 4)), -3, 3)  # symmetric, within [0, 100]
    hits = [low <= truth <= high for low, high in map(mean_interval, draws.tolist())]
    whole = [
        abs(np.mean(each) - truth) <= stats.t.ppf(0.975, 3) * stats.sem(each) for each in draws
    ]
    assert hits == whole
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_equal_values_have_no_width():
    assert mean_interval([100.0] * 3) == (100.0, 100.0)


@pytest.mark.parametrize("values", [[73.5], [69.5, 77.5]])
def test_fewer_than_three_values_have_none(values):
    assert mean_interval(values) is None
    found = estimate(values)
    assert (found.low, found.high) == (None, None)


def table_of(seeds, values=((22.0, 70.0, 98.0, 99.0), (1.0, 99.0, 60.0, 96.0))):
    mast, vicreg = values
    scores = {("mast", seed): {"hue": mast[seed]} for seed in seeds}
    scores |= {("vicreg", seed): {"hue": vicreg[seed]} for seed in seeds}
    return compared(scores, ["vicreg", "mast"], seeds, ours="mast", protocol="linear")


def shown(table):
    """The console's text, and the report's table and picture."""
    headline = several_methods(table)
    (cells,) = (cells for _, cells in headline.rows)
    caption = methods_section(table).pictures[0].caption
    return as_text(table, {name: {} for name in table.methods}), headline.caption, cells, caption


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_with_fewer_than_three_seeds_every_table_says_so(seeds):
    text, caption, cells, picture = shown(table_of(seeds))
    why = "none, as it takes three seeds or more"
    assert text.splitlines()[0].endswith(f"intervals: {why}")
    assert caption.endswith(f"intervals (in smaller print): {why}")
    assert picture == f"Bars: {why}."
    assert "[" not in text
    assert [cell.interval for cell in cells] == ["", "", "to vicreg"]


def test_with_three_they_stay_on_the_scale_wherever_they_are_shown():
    table = table_of([0, 1, 2])
    text, caption, cells, _ = shown(table)
    assert "95 % over 3 seeds" in text and "95 % over 3 seeds" in caption
    assert "63.3 [0.0, 100.0]" in text and cells[1].interval == "0.0 to 100.0"
    (row,) = table.rows
    assert row.difference.low == max(-100.0, row.difference.low) < -50
    assert f"[{row.difference.low:+.1f}, {row.difference.high:+.1f}]" in text


def test_a_difference_may_be_negative_and_ends_at_minus_100():
    table = table_of([0, 1, 2], ((0.0, 5.0, 99.0), (100.0, 99.0, 100.0)))
    (row,) = table.rows
    assert (row.difference.low, row.difference.mean) == (-100.0, pytest.approx(-65.0))
    assert row.difference.high > 0
