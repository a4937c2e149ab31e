import colorsys
import csv
import errno
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import ImageFolder

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.dataset import cache_root, embedded_dataset
from mast_plugin.loading.scene import (
    BACKGROUNDS,
    POSITIONS,
    SIZES,
    TASKS,
    Specification,
    digit_scans,
    draw,
)

SMALL = Specification(train=60, val=20)


@pytest.fixture(scope="module")
def scenes():
    """The first images of the default dataset, (N, 32, 32, 3) in [0, 1], and their labels."""
    images, labels = zip(*islice(draw(Specification(), "train"), 1200), strict=True)
    return np.stack(images) / 255, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Path(embedded_dataset(root=tmp_path_factory.mktemp("cache"), specification=SMALL))


def column(labels, task):
    return np.array([label[task] for label in labels])


def ink_amount(images):
    """How much a pixel differs from the paper, read from the four corners; plain paper only."""
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    paper = np.median(corners, axis=1)
    return np.abs(images - paper[:, None, None]).sum(-1)


def free_border(image, label):
    """The row and the column of an image that are farthest from the digit."""
    row = image[-1] if label["position"].startswith("top") else image[0]
    column = image[:, -1] if label["position"].endswith("left") else image[:, 0]
    return row, column


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_pixels_are_the_recorded_ones():
    digest = hashlib.sha256()
    for split in ("train", "val"):
        for image, labels in islice(draw(Specification(), split), 100):
            digest.update(image.tobytes())
            digest.update(repr(labels).encode())
    expected = "f2978cc32bc4d891890beca46040fe5de0ff27a21e507b609f251b3046edf325"
    assert digest.hexdigest() == expected


def test_made_twice_the_files_are_the_same(folder, tmp_path):
    again = Path(embedded_dataset(root=tmp_path, specification=SMALL))
    assert again != folder
    assert contents(again) == contents(folder)


def test_a_smaller_dataset_is_the_beginning_of_a_larger_one():
    larger = replace(SMALL, train=100)
    for (image, labels), (other, others) in zip(
        draw(SMALL, "train"), draw(larger, "train"), strict=False
    ):
        assert np.array_equal(image, other)
        assert labels == others


def test_no_scan_is_in_both_splits_and_none_is_lost():
    train, val = (
        {scan.tobytes() for own in digit_scans(s).values() for scan in own}
        for s in ("train", "val")
    )
    everything = {scan.tobytes() for scan in load_digits().images / 16}
    assert not train & val
    assert train | val == everything


@pytest.mark.parametrize("digit", range(10))
def test_scans_are_filed_under_their_own_digit(digit):
    digits = load_digits()
    own = {scan.tobytes() for scan in digits.images[digits.target == digit] / 16}
    for split in ("train", "val"):
        assert {scan.tobytes() for scan in digit_scans(split)[digit]} <= own


def test_classes_are_balanced(scenes):
    _, labels = scenes
    classes = {"digit": 10, "hue": Specification().hues, "position": 4, "size": 3, "background": 4}
    assert set(classes) == set(TASKS)
    for task, count in classes.items():
        frequencies = Counter(column(labels, task))
        assert len(frequencies) == count
        assert max(frequencies.values()) < 1.35 * len(labels) / count


def test_tasks_are_independent(scenes):
    _, labels = scenes
    for task in TASKS[1:]:
        pairs = Counter(zip(column(labels, "digit"), column(labels, task), strict=True))
        assert len(pairs) == 10 * len(set(column(labels, task)))


def test_hue_is_the_hue_of_the_ink(scenes):
    images, labels = scenes
    plain = column(labels, "background") == "plain"
    images, hues = images[plain], column(labels, "hue")[plain].astype(float)
    amount = ink_amount(images).reshape(len(images), -1)
    for image, strongest, hue in zip(images, amount.argmax(1), hues, strict=True):
        seen = 360 * colorsys.rgb_to_hsv(*image.reshape(-1, 3)[strongest])[0]
        distance = abs((seen - hue + 180) % 360 - 180)
        assert distance < 180 / Specification().hues


def test_position_is_where_the_ink_is(scenes):
    images, labels = scenes
    plain = column(labels, "background") == "plain"
    amount, position = ink_amount(images[plain]), column(labels, "position")[plain]
    total = amount.sum((1, 2))
    place = np.arange(images.shape[1]) - (images.shape[1] - 1) / 2
    bottom = (amount.sum(2) @ place / total) > 0
    right = (amount.sum(1) @ place / total) > 0
    expected = np.array([POSITIONS.index(name) for name in position])
    # A scan's centre of mass is not its middle, so a few of the least shifted ones cross over.
    assert np.mean(2 * bottom + right == expected) > 0.85


def test_size_is_the_extent_of_the_ink(scenes):
    images, labels = scenes
    plain = column(labels, "background") == "plain"
    inked = ink_amount(images[plain]).sum(2) > 1.0
    size = column(labels, "size")[plain]
    extents = [inked[size == name].sum(1).mean() for name in SIZES]
    assert extents[0] + 1 < extents[1] < extents[2] - 1


def test_background_is_the_texture_of_the_border(scenes):
    for image, label in zip(*scenes, strict=True):
        # Stripes have over a third of a line on either level; a stroke covers less than that.
        lines = (np.quantile(line, (0.3, 0.7), axis=0) for line in free_border(image, label))
        row, column = (np.ptp(levels, axis=0).max() > 0.05 for levels in lines)
        expected = BACKGROUNDS.index(label["background"])
        across, down = expected in (1, 3), expected in (2, 3)
        assert (column, row) == (across, down)


def test_image_folder_reads_it(folder):
    for split, count in (("train", SMALL.train), ("val", SMALL.val)):
        images = ImageFolder(str(folder / split))
        assert len(images) == count
        assert images.classes == [str(digit) for digit in range(10)]
        assert images[0][0].size == (32, 32)


def test_the_table_lists_every_image_with_its_labels(folder):
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert {row["file"] for row in rows} == images
    drawn = [scene for split in ("train", "val") for scene in draw(SMALL, split)]
    for row, (image, labels) in zip(rows, drawn, strict=True):
        assert row["file"].startswith(f"{row['split']}/{row['digit']}/")
        assert {task: row[task] for task in TASKS} == labels
        with Image.open(folder / row["file"]) as written:
            assert np.array_equal(np.asarray(written), image)


def test_parts_are_folders_of_one_dataset(folder):
    root = folder.parent
    assert embedded_dataset("train", root=root, specification=SMALL) == str(folder / "train")
    assert embedded_dataset("val", root=root, specification=SMALL) == str(folder / "val")
    with pytest.raises(ConfigurationError, match="'test'"):
        embedded_dataset("test", root=root)


def test_a_second_call_writes_nothing(folder, monkeypatch):
    monkeypatch.setattr(
        Path, "mkdir", lambda *_, **__: pytest.fail("the dataset was written again")
    )
    assert embedded_dataset(root=folder.parent, specification=SMALL) == str(folder)


@pytest.mark.parametrize("option", [field.name for field in fields(Specification)])
def test_every_option_is_part_of_the_name(option):
    value = getattr(Specification(), option)
    other = value[::-1] if isinstance(value, tuple) else value + 1
    assert replace(Specification(), **{option: other}).folder != Specification().folder


def test_two_at_once_share_one_whole_dataset(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(embedded_dataset, root=tmp_path, specification=SMALL) for _ in range(4)
        ]
    (made,) = tmp_path.iterdir()
    assert {call.result() for call in calls} == {str(made)}
    assert len(list(made.rglob("*.png"))) == SMALL.train + SMALL.val


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch, fault):
    save, saved = Image.Image.save, []

    def failing(image, file):
        saved.append(file)
        if len(saved) > 30:
            raise fault
        save(image, file)

    monkeypatch.setattr(Image.Image, "save", failing)
    with pytest.raises((KeyboardInterrupt, DataError)):
        embedded_dataset(root=tmp_path, specification=SMALL)
    assert len(saved) == 31
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="MAST_CACHE"):
        embedded_dataset(root=tmp_path / "file", specification=SMALL)


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MAST_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_root() == tmp_path / ".cache" / "mast_plugin"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_root() == tmp_path / "shared" / "mast_plugin"
    monkeypatch.setenv("MAST_CACHE", "~/chosen")
    assert cache_root() == tmp_path / "chosen"
