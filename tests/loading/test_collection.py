"""Folders of images as people and systems leave them: what is read, and what is left out."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mast_plugin.errors import DataError
from mast_plugin.evaluation.labels.labelled_folder import read_labelled
from mast_plugin.loading.collection import class_names, read_collection
from mast_plugin.loading.contradiction import contradictions
from mast_plugin.loading.data import announce, training_images, training_loader, validation_loader
from mast_plugin.loading.image import SUFFIXES
from mast_plugin.setting.configuration import resolve
from mast_plugin.views.torchvision import CentredView


def draw(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (shade, 0, 0)).save(path, "PNG")
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    for label, name in enumerate(("ant", "bee")):
        for index in range(4):
            draw(tmp_path / "set" / name / f"{index}.png", 40 * index + 10 * label)
    return tmp_path / "set"


def names(found, root):
    return [str(Path(path).relative_to(root)) for path, _ in found.samples]


def opened(small, root, *overrides):
    return training_images(resolve(small("mast", f"data.train_path={root}", *overrides)))


# --- links ----------------------------------------------------------------------------------------


def test_linked_folders_are_followed_once_and_without_loops(root, tmp_path):
    draw(tmp_path / "out" / "deep" / "x.png", 200)
    (tmp_path / "out" / "loop").symlink_to(tmp_path / "out")
    (root / "bee" / "loop").symlink_to(root)
    (root / "ant" / "more").symlink_to(tmp_path / "out")
    (root / "ant" / "again").symlink_to(tmp_path / "out" / "deep")
    found = read_collection(root, labelled=True)
    assert names(found, root)[4:] == [
        "ant/again/x.png",
        *(f"bee/{index}.png" for index in range(4)),
    ]
    assert found.left_out == Counter({"linked twice": 3})
    assert len(read_collection(root, labelled=False).samples) == 9


def test_no_link_gives_an_image_a_second_label(root, tmp_path):
    (root / "ant" / "z.png").symlink_to(root / "bee" / "0.png")
    (root / "ant" / "of bees").symlink_to(root / "bee")
    out = draw(tmp_path / "out.png", 250)
    (root / "ant" / "a.png").symlink_to(out)
    (root / "bee" / "b.png").symlink_to(out)
    found = read_collection(root, labelled=True)
    assert len(found.samples) == 9 and found.left_out["linked twice"] == 3
    assert len({os.path.realpath(path) for path, _ in found.samples}) == 9


def test_a_link_to_what_is_no_image_by_its_name_is_read(root):
    """As tools that keep large files elsewhere leave them."""
    draw(root / ".store" / "abc", 99)
    (root / "ant" / "linked.png").symlink_to(root / ".store" / "abc")
    assert "ant/linked.png" in names(read_collection(root, labelled=True), root)


def test_a_class_that_is_a_link_to_another_class_is_refused(root):
    (root / "wasp").symlink_to(root / "bee")
    with pytest.raises(DataError, match=r"wasp is a link to .*bee, whose images would have two"):
        read_collection(root, labelled=True)


def test_a_broken_link_is_left_out(root):
    (root / "ant" / "9.png").symlink_to(root / "nowhere.png")
    (root / "ant" / "8.png").symlink_to(root / "ant" / "8.png")
    assert read_collection(root, labelled=True).left_out == Counter({"no file": 2})


# --- what is no image -----------------------------------------------------------------------------

HIDDEN_FOLDERS = (".ipynb_checkpoints", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN")
HIDDEN_FOLDERS += ("System Volume Information", ".thumbnails", "lost+found", ".git")
HIDDEN_FILES = ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.jpg")


def test_what_systems_keep_is_neither_image_nor_class(root):
    for name in HIDDEN_FOLDERS:
        draw(root / name / "0.png")
        draw(root / "ant" / name / "0.png")
    for name in HIDDEN_FILES:
        (root / "bee" / name).write_bytes(b"x")
    assert class_names(root) == ("ant", "bee")
    for labelled in (True, False):
        found = read_collection(root, labelled=labelled)
        assert len(found.samples) == 8
        assert found.left_out == Counter({"hidden": 2 * len(HIDDEN_FOLDERS) + len(HIDDEN_FILES)})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_spelling_of_a_format_is_read(suffix, root):
    draw(root / "ant" / f"other{suffix.upper()}")
    assert len(read_collection(root, labelled=True).samples) == 9


def test_all_that_is_left_out_is_said_in_one_line(root, small, capsys):
    for index in range(30):
        (root / "ant" / f"{index}.HEIC").write_bytes(b"x")
    (root / "bee" / "a.gif").write_bytes(b"x")
    (root / "bee" / "notes").write_bytes(b"x")
    draw(root / "loose.png")
    announce(opened(small, root))
    said = capsys.readouterr().err
    assert said == (
        f"{root} holds 8 images in 2 classes; left out 30 .heic, 1 .gif, 1 beside the class "
        "folders, 1 without ending (convert .gif, .heic to .jpg or .png)\n"
    )
    with pytest.raises(DataError, match=r"holds 8 images \(left out: 30 .heic, .*fewer than one"):
        opened(small, root, "optimizer.batch_size=9")


def test_a_folder_of_nothing_but_others_says_what_is_there(root):
    for path in root.rglob("*.png"):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"ant holds no images .*it holds 4 .heic \(convert .heic"):
        read_collection(root, labelled=True)
    with pytest.raises(DataError, match=r"set holds no images .*it holds 8 .heic \(convert .heic"):
        read_collection(root, labelled=False)


# --- classes --------------------------------------------------------------------------------------


def test_classes_that_differ_in_case_only_are_said(root):
    shutil.copytree(root / "ant", root / "Ant")
    summary = read_collection(root, labelled=True).summary()
    assert summary == "12 images in 3 classes; the classes Ant and ant differ in case only"


def test_one_image_with_two_labels_is_said(root, small, capsys):
    shutil.copy(root / "ant" / "1.png", root / "bee" / "copy.png")
    shutil.copy(root / "ant" / "1.png", root / "ant" / "copy.png")  # of the same label: no matter
    announce(opened(small, root))
    said = capsys.readouterr().err
    assert f"{root}/ant/1.png and {root}/bee/copy.png are one image with two labels\n" in said
    assert (
        contradictions([(str(root / "ant" / "1.png"), 0), (str(root / "bee" / "1.png"), 1)]) == []
    )


def test_splits_are_no_classes(root, tmp_path):
    (tmp_path / "whole").mkdir()
    root.rename(tmp_path / "whole" / "train")
    shutil.copytree(tmp_path / "whole" / "train", tmp_path / "whole" / "test")
    with pytest.raises(DataError, match=r"splits \(test, train\), not classes: set .*whole/train"):
        read_collection(tmp_path / "whole", labelled=True)
    table = read_labelled(tmp_path / "whole")
    assert {path.parts[-3] for path in table.val_files} == {"test"}


@pytest.mark.parametrize(("train", "test"), [("Train", "VALID"), ("training", "testing")])
def test_the_parts_of_a_dataset_are_known_in_every_spelling(train, test, root, tmp_path):
    (tmp_path / "whole").mkdir()
    shutil.copytree(root, tmp_path / "whole" / test)
    root.rename(tmp_path / "whole" / train)
    with pytest.raises(DataError, match=rf"not classes: set data.train_path=.*whole/{train}"):
        read_collection(tmp_path / "whole", labelled=True)
    table = read_labelled(tmp_path / "whole")
    assert {path.parts[-3] for path in table.train_files} == {train}
    assert {path.parts[-3] for path in table.val_files} == {test}


def test_a_part_that_is_not_tested_on_is_said(root, tmp_path, capsys):
    for part in ("train", "val", "test"):
        shutil.copytree(root, tmp_path / "whole" / part)
    read_labelled(tmp_path / "whole")
    assert capsys.readouterr().err == f"{tmp_path}/whole is tested on val; left out test\n"


@pytest.mark.parametrize(("one", "other"), [("Käfer", "Ka\u0308fer"), ("ant", "ant ")])
def test_classes_that_look_alike_are_said(one, other, root):
    for name in {one, other} - {"ant"}:
        draw(root / name / "0.png")
    summary = read_collection(root, labelled=True).summary()
    assert summary.endswith(" look alike") and one in summary and other in summary


def test_validation_counts_the_classes_of_training(root, small, tmp_path):
    draw(tmp_path / "val" / "bee" / "0.png")
    cfg = resolve(small("mast", f"data.train_path={root}", f"data.val_path={tmp_path / 'val'}"))
    ((_, label),) = list(validation_loader(cfg, CentredView(8)))
    assert label.tolist() == [1]
    draw(tmp_path / "val" / "cow" / "0.png")
    with pytest.raises(DataError, match="holds the class 'cow', of which there are no training"):
        validation_loader(cfg, CentredView(8))


def test_a_table_is_validated_on_a_folder_by_the_names_of_the_classes(root, small, tmp_path):
    rows = [f"{root}/ant/0.png,bee", f"{root}/ant/1.png,ant", f"{root}/ant/2.png,cow"]
    (tmp_path / "train.csv").write_text("\n".join(["file,label", *rows]))
    draw(tmp_path / "val" / "cow" / "0.png")
    (tmp_path / "val.csv").write_text(f"file,label\n{root}/ant/0.png,cow\n")
    for val in ("val", "val.csv"):
        paths = (f"data.train_path={tmp_path}/train.csv", f"data.val_path={tmp_path / val}")
        ((_, label),) = list(validation_loader(resolve(small("mast", *paths)), CentredView(8)))
        assert label.tolist() == [2]


def test_validation_images_are_checked_before_a_training(root, small, tmp_path):
    draw(tmp_path / "val" / "bee" / "0.png").write_bytes(b"x")
    paths = (f"data.train_path={root}", f"data.val_path={tmp_path / 'val'}")
    with pytest.raises(DataError, match=r"val/bee/0.png cannot be read"):
        validation_loader(resolve(small("mast", *paths)), CentredView(8))
    assert validation_loader(resolve(small("mast", *paths, "data.check=false")), CentredView(8))


def test_shards_beside_images_are_refused_and_hidden_ones_are_none(root, small):
    (root / "._0.tar").write_bytes(b"x")
    assert len(opened(small, root)) == 8
    (root / "0.TAR").write_bytes(b"x")
    with pytest.raises(DataError, match=r"holds tar shards \(0.TAR\) beside images .*: move one"):
        opened(small, root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ant/0.png", "0.png is no folder: give the folder of images"),
        ("~/no such folder", "does not exist: set .*, with the home folder in full"),
    ],
)
def test_what_is_no_folder_is_said_to_be_what_it_is(name, message, root):
    with pytest.raises(DataError, match=message):
        read_collection(Path(name) if name[0] == "~" else root / name, labelled=False)


# --- names ----------------------------------------------------------------------------------------

ODD = os.fsdecode(b"\xe4\xff")  # no UTF-8


def odd(root: Path) -> Path:
    (root / "ant").rename(root / ODD)
    for index in range(4):
        (root / ODD / f"{index}.png").rename(root / ODD / f"{ODD}{index}.png")
    return root


@pytest.mark.parametrize("format_", ["image_folder", "dali"])
@pytest.mark.slow
def test_names_that_are_no_utf8_are_loaded(format_, root, small):
    if format_ == "dali":
        pytest.importorskip("nvidia.dali")
    path = f"data.train_path={odd(root)}"
    cfg = resolve(small("mast", path, f"data.format={format_}", "dali.device=cpu"))
    images = training_images(cfg)
    assert images.classes == ("bee", r"\xe4\xff")
    from mast_plugin.loading.choice import chosen_views

    ((index, _, _),) = list(training_loader(cfg, images, chosen_views(cfg).transform))
    assert sorted(index.tolist()) == list(range(8))


def test_a_bad_file_of_such_a_name_is_named(root, small, capsys):
    (odd(root) / ODD / f"{ODD}0.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        opened(small, root)
    capsys.readouterr()


def test_a_name_of_two_lines_is_said_on_one(root, small, capsys):
    (root / "ant").rename(root / "a\nt")
    (root / "a\nt" / "0.png").write_bytes(b"x")
    with pytest.raises(DataError) as refusal:
        opened(small, root)
    assert r"/a\nt/0.png cannot be read" in str(refusal.value)
    images = opened(small, root, "data.check=false")
    assert images.classes == (r"a\nt", "bee")
    images.notes = [f"{root}/a\nt holds 8 images"]
    capsys.readouterr()
    announce(images)
    assert capsys.readouterr().err == f"{root}/a\\nt holds 8 images\n"
