"""The study's tables are written from its results, and nobody changes them by hand."""

import importlib.util
import json
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


@pytest.fixture(scope="module")
def study():
    path = ROOT / "benchmarks" / "quality" / "study.py"
    spec = importlib.util.spec_from_file_location("study", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RESULTS = sorted((ROOT / "benchmarks" / "quality" / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_results_lie_as_the_study_writes_them(study, path):
    text = path.read_text()
    content = json.loads(text)
    assert study.in_lines(study.portable(content, {})) == text
    assert len(text.splitlines()) < 100


def test_what_a_stage_keeps_of_a_comparison(study):
    def run(seed, top1):
        return {
            "method": "mast",
            "seed": seed,
            "sha256": f"digest {seed}",
            "configuration": {
                "seed": seed,
                "checkpoint": {"dir": "elsewhere"},
                "lr": 1.23456789e-5,
                "data": {"train_path": "/images/train"},
            },
            "versions": {"torch": "2"},
            "hardware": "a processor",
            "top1": top1,
        }

    compared = {
        "configuration": {"methods": ["mast"], "variants": {"mast": {}, "byol": {}}},
        "search": {},
        "tables": {"linear": "follows from the accuracies"},
        "costs": {"mast": {"minutes": 5.123456789}},
        "runs": [
            run(0, {"backbone linear class": 41.1234567, "backbone knn class": 100.0}),
            run(1, {"backbone knn class": 12.5, "backbone linear class": 3.0}),
        ],
    }
    assert study.portable(study.condensed(compared), {Path("/images"): "IMAGES"}) == {
        "configuration": {"methods": ["mast"], "variants": {"mast": {}}},
        "search": {},
        "costs": {"mast": {"minutes": 5.12346}},
        "versions": {"torch": "2"},
        "hardware": "a processor",
        "methods": {"mast": {"lr": 1.23457e-5, "data": {"train_path": "IMAGES/train"}}},
        "measured": ["backbone linear class", "backbone knn class"],
        "runs": [
            {"method": "mast", "seed": 0, "sha256": "digest 0", "top1": [41.1235, 100.0]},
            {"method": "mast", "seed": 1, "sha256": "digest 1", "top1": [3.0, 12.5]},
        ],
    }
