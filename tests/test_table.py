"""Tables of images as spreadsheets and programs write them."""

from pathlib import Path

import pytest

from mast_plugin.errors import DataError
from mast_plugin.evaluation.tasks import read_tasks
from mast_plugin.table import ImageTable

from .hostile import material

ROWS = "file,label\na.png,ant\nb.png,bee\n"


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (folder / name).write_bytes(material.image())
    (folder / "images.csv").write_text(text, encoding=encoding)
    return folder / "images.csv"


def test_the_mark_that_excel_sets_is_read_over(tmp_path):
    assert ImageTable(table(tmp_path, ROWS, "utf-8-sig"), labelled=True).classes == ["ant", "bee"]


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        (ROWS, "utf-16", "cannot be read, as it is in UTF-16: save it as CSV in UTF-8"),
        (ROWS.replace(",", ";"), "utf-8", "semicolons between its columns: save it with commas"),
        (ROWS.replace(",", "\t"), "utf-8-sig", "tabs between its columns: save it with commas"),
        (ROWS + "a.png,bee\n", "utf-8", r"a.png as 'ant' in row 2 and as 'bee' in row 4"),
        (ROWS + "./a.png,bee\n", "utf-8", r"a.png as 'ant' in row 2 and as 'bee' in row 4"),
        (ROWS + "c.png, \n", "utf-8", r"no label for 'c.png' in row 4 but ' '"),
        (ROWS + "c.png,NaN\n", "utf-8", r"no label for 'c.png' in row 4 but 'NaN'"),
        (ROWS + "c.png,ant \n", "utf-8", r"label 'ant ' in row 4 beside 'ant' in row 2"),
        ("file,label\na.png,0\nb.png,0.0\n", "utf-8", r"'0.0' in row 3 beside '0' in row 2"),
        ("file,label\na.png,1\nb.png,01\n", "utf-8", r"'01' in row 3 beside '1' in row 2"),
    ],
)
def test_what_spreadsheets_and_programs_do_to_a_table_is_refused(text, encoding, message, tmp_path):
    with pytest.raises(DataError, match=message):
        ImageTable(table(tmp_path, text, encoding), labelled=True)


def test_a_file_may_be_listed_twice_with_one_label(tmp_path):
    assert len(ImageTable(table(tmp_path, ROWS + "a.png,ant\n"), labelled=True)) == 3


TASKS = "file,split,kind\na.png,train,0\nb.png,train,1\nc.png,{split},{label}\nd.png,{split},1\n"


def test_a_table_of_tasks_may_call_its_test_images_so(tmp_path):
    read = read_tasks(table(tmp_path, TASKS.format(split="test", label="0"), "utf-8-sig"))
    assert [path.name for path in read.val_files] == ["c.png", "d.png"]


def test_a_table_of_tasks_writes_a_class_in_one_way(tmp_path):
    with pytest.raises(DataError, match=r"kind '0.0' in row 4 beside '0' in row 2"):
        read_tasks(table(tmp_path, TASKS.format(split="val", label="0.0")))
    with pytest.raises(DataError, match=r"no kind for 'c.png' in row 4 but 'nan'"):
        read_tasks(table(tmp_path, TASKS.format(split="val", label="nan")))
