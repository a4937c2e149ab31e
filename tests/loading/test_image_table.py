"""Tables of images as spreadsheets and programs write them."""

from pathlib import Path

import pytest

from mast_plugin.errors import DataError
from mast_plugin.evaluation.labels.tasks import read_tasks
from mast_plugin.loading.image_table import ImageTable

from ..hostile import material

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


@pytest.mark.parametrize("split", ["test", "valid", "Validation"])
def test_a_table_of_tasks_may_call_its_test_images_so(split, tmp_path):
    read = read_tasks(table(tmp_path, TASKS.format(split=split, label="0"), "utf-8-sig"))
    assert [path.name for path in read.val_files] == ["c.png", "d.png"]


def test_a_table_of_tasks_has_two_splits(tmp_path):
    text = TASKS.format(split="val", label="0").replace("d.png,val", "d.png,test")
    with pytest.raises(DataError, match=r"of the splits train and val only; it has .*'test'"):
        read_tasks(table(tmp_path, text))


def test_a_table_of_tasks_writes_a_class_in_one_way(tmp_path):
    with pytest.raises(DataError, match=r"kind '0.0' in row 4 beside '0' in row 2"):
        read_tasks(table(tmp_path, TASKS.format(split="val", label="0.0")))
    with pytest.raises(DataError, match=r"no kind for 'c.png' in row 4 but 'nan'"):
        read_tasks(table(tmp_path, TASKS.format(split="val", label="nan")))


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        (ROWS, "utf-16-le", "cannot be read, as it is in UTF-16: save it as CSV in UTF-8"),
        (ROWS.replace("ant", "Käfer"), "latin-1", r"is not in UTF-8 \(byte 0xe4 .*save it as CSV"),
        ("", "utf-8", "is empty: name its columns in the first line"),
        (
            ROWS.replace("file", "File"),
            "utf-8",
            r"no column 'file' but \['File', 'label'\]: add it",
        ),
        ("file,label,label\na.png,1,2\n", "utf-8", "has the column 'label' twice: keep one"),
        (ROWS + "c.png,bee, red\n", "utf-8", "3 cells in row 4.*put a cell that holds commas in"),
        (ROWS + 'c.png,"bee\nd.png,bee\n', "utf-8", "cannot be read .*save it as CSV"),
        (ROWS + 'c.png,"bee\nd.png,bee"\n', "utf-8", "in row 4, over several lines: close its quo"),
        ("\n\n" + ROWS + "\nc.png,\n", "utf-8", "no label for 'c.png' in row 7 but ''"),
        (ROWS.replace("\n", ",x\n", 1) + 'c.png,ant,"1\n2"\nd.png,\n', "utf-8", "'d.png' in row 5"),
        (ROWS + "c.png,NA\n", "utf-8", "no label for 'c.png' in row 4 but 'NA'"),
        (
            ROWS + "c.png,é\nd.png,e\u0301\n",
            "utf-8",
            "in row 5 beside .* in row 4: write one class",
        ),
    ],
)
def test_what_would_lose_cells_rows_or_labels_is_refused(text, encoding, message, tmp_path):
    with pytest.raises(DataError, match=message):
        ImageTable(table(tmp_path, text, encoding), labelled=True)


def test_empty_columns_at_the_end_are_read_over(tmp_path):
    path = table(tmp_path, ROWS.replace("\n", ",,\n"))
    assert ImageTable(path, labelled=True).samples == [
        (str(tmp_path / "a.png"), 0),
        (str(tmp_path / "b.png"), 1),
    ]


def test_a_table_says_what_it_lists(tmp_path):
    path = table(tmp_path, ROWS + "c.png,Ant\n")
    said = "images.csv lists 3 images in 3 classes; the classes Ant and ant differ in case only"
    assert said in ImageTable(path, labelled=True).notes[0]


def test_a_file_that_is_not_there_is_named_with_its_row_however_few_are_decoded(tmp_path):
    images = ImageTable(table(tmp_path, ROWS + "e.png,ant\nf.png,ant\n"), labelled=True)
    message = r"names .*e\.png in row 4, where there is no file \(and 1 more\): mend the name"
    with pytest.raises(DataError, match=message):
        images.check(step=4)


def test_a_column_without_a_name_is_no_task(tmp_path):
    text = TASKS.format(split="val", label="0").replace("\n", "\n,")[:-1]
    assert [t.name for t in read_tasks(table(tmp_path, "," + text)).tasks] == ["kind"]
