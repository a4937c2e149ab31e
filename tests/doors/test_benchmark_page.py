"""The study's tables are written from its results, and nobody changes them by hand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = Path("docs") / "benchmarks.md"
INTERVAL = re.compile(r"\| (-?[\d.]+) (?:± ([\d.]+)|\[([\d.]+), ([\d.]+)\])(?= \|)")


@pytest.mark.slow
def test_the_page_is_what_the_results_make_of_it(tmp_path):
    for part in ("benchmarks/quality", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part)
    written = (tmp_path / PAGE).read_text()
    script = tmp_path / "benchmarks" / "quality" / "page.py"
    subprocess.run([sys.executable, str(script)], check=True, cwd=ROOT)
    assert (tmp_path / PAGE).read_text() == written


def test_no_accuracy_is_said_to_be_where_none_can_be():
    page = (ROOT / PAGE).read_text()
    tables = page.split(" top-1 in %:\n")[1:]
    found = [match for table in tables for match in INTERVAL.finditer(table.partition("minus")[0])]
    assert len(found) > 100
    for match in found:
        mean, margin, low, high = (None if each is None else float(each) for each in match.groups())
        assert (mean - margin if low is None else low) + 0.06 >= 0
        assert (mean + margin if high is None else high) <= 100.06
