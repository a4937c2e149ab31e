import csv
import json

import pytest

from mast_plugin.errors import DataError
from mast_plugin.evaluation.measurement import Measurement, read, write
from mast_plugin.evaluation.text_table import table

ROWS = [
    Measurement(
        "backbone", "knn", "digit", "top1", 71.25, 69.0, 73.5, {"k": 20, "temperature": 0.07}
    ),
    Measurement("backbone", "knn", "digit", "top5", 95.04, 94.0, 96.0),
    Measurement("subspace crop", "knn", "digit", "top1", 50.0, 48.0, 52.0),
    Measurement("backbone", "label-free", "", "rankme", 123.456),
    Measurement("backbone", "label-free", "", "uniformity", -3.14159),
]
HEADER = {"checkpoint": "a.ckpt", "num_test": 10, "seconds": {"knn": 1.5}, "configuration": None}


def test_what_is_written_is_read_back(tmp_path):
    write(tmp_path / "new" / "run-0.5", HEADER, ROWS)
    assert read(tmp_path / "new" / "run-0.5.json") == (HEADER, ROWS)


def test_the_json_is_header_and_plain_rows(tmp_path):
    write(tmp_path / "evaluation", HEADER, iter(ROWS))
    content = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(content) == {"header", "measurements"}
    assert content["measurements"][1] == {
        "space": "backbone",
        "protocol": "knn",
        "subject": "digit",
        "metric": "top5",
        "value": 95.04,
        "low": 94.0,
        "high": 96.0,
        "chosen": {},
    }


def test_the_csv_has_a_line_per_row(tmp_path):
    write(tmp_path / "evaluation", HEADER, ROWS)
    with (tmp_path / "evaluation.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(ROWS)
    assert float(lines[0]["value"]) == 71.25
    assert lines[0]["chosen"] == "k=20 temperature=0.07"
    assert (lines[3]["metric"], lines[3]["low"]) == ("rankme", "")


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"header": {}}', '{"header": {}, "measurements": [{"k": 1}]}']
)
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(DataError, match=r"other\.json is no readable evaluation"):
        read(tmp_path / "other.json")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no readable evaluation"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("numbers", [(float("nan"),), (1.0, float("-inf"), 2.0)])
def test_a_number_that_is_none_is_refused(numbers):
    with pytest.raises(DataError, match="must be finite"):
        Measurement("backbone", "knn", "digit", "top1", *numbers)


def test_the_table_has_a_block_per_protocol():
    knn, label_free = table(ROWS).split("\n\n")
    title, head, digit, crop = knn.splitlines()
    assert (title, head.split()) == ("knn", ["space", "subject", "top1", "top5"])
    assert digit.split("  ")[0] == "backbone"
    assert "71.2 [69.0, 73.5]  95.0 [94.0, 96.0]" in digit
    assert "50.0 [48.0, 52.0]" in crop
    assert label_free.splitlines()[2].split() == ["backbone", "123.5", "-3.142"]
    assert len({len(line) for line in (head, digit, crop)}) == 1


def wide(metrics, **interval):
    name = "a very long name of a space that goes on"
    return [Measurement(name, "p", name, f"metric_{m}", 1.0, **interval) for m in range(metrics)]


def test_a_wide_table_leaves_the_intervals_out_first():
    text = table(wide(4, low=0.5, high=1.5))
    assert text.splitlines()[0] == "p, without intervals"
    assert text.splitlines()[2].count("1.000") == 4
    assert max(map(len, text.splitlines())) <= 100


def test_a_very_wide_table_says_what_it_leaves_out():
    text = table(wide(5))
    assert text.splitlines()[0] == "p, without metric_4"
    assert max(map(len, text.splitlines())) <= 100


def test_no_measurements_are_an_empty_table():
    assert table([]) == ""
