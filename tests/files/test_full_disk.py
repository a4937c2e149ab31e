"""A disk that becomes full while a checkpoint is evaluated: one sentence, and no half a file."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from mast_plugin.errors import DataError, StorageError
from mast_plugin.evaluate import evaluate_and_report
from mast_plugin.evaluation.features import store
from mast_plugin.evaluation.features.store import FeatureStore
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.measurement import Measurement, write
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.report.figure import new_figure, save

from .test_checkpoint import largest_file

pytestmark = pytest.mark.slow


def keep_features(files: list[Path], folder: Path, can_allocate: bool, result) -> None:
    if not can_allocate:
        del store.os.posix_fallocate
    try:
        FeatureStore(folder, batch_size=4).features(nn.Flatten(), "a", files, ViewStatistics(96))
    except DataError as error:
        result.put(str(error))


@pytest.mark.parametrize("can_allocate", [True, False])
def test_features_that_do_not_fit_are_refused_in_one_sentence(
    image_folder, tiny_disk, can_allocate
):
    """24 images of 96 x 96 x 3 numbers are 2.5 MiB; a map of them would end the process."""
    files, disk = sorted(image_folder.rglob("*.png")), tiny_disk(1)
    context = multiprocessing.get_context("fork")
    result = context.SimpleQueue()
    given = (files, disk / "features", can_allocate, result)
    process = context.Process(target=keep_features, args=given)
    process.start()
    process.join()
    assert process.exitcode == 0
    sentence = result.get()
    assert "No space left on device" in sentence and "cache=FOLDER" in sentence
    assert not list((disk / "features").iterdir())


def test_a_note_that_does_not_fit_leaves_no_features_without_one(
    image_folder, tmp_path, monkeypatch
):
    files = sorted(image_folder.rglob("*.png"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_json", fail)
    with pytest.raises(DataError, match="No space left"):
        FeatureStore(tmp_path).features(nn.Flatten(), "a", files, ViewStatistics(8))
    assert not list(tmp_path.iterdir())


def test_blocks_that_are_set_aside_change_nothing(tmp_path, monkeypatch):
    content = np.random.default_rng(0).bytes(3000)
    monkeypatch.setattr(store, "_BLOCK", 1024)
    for _ in range(2):
        (tmp_path / "file").write_bytes(content)
        store._allocate(tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == content
        monkeypatch.delattr(store.os, "posix_fallocate", raising=False)


def test_an_evaluation_says_so_and_leaves_whole_pictures_only(
    trained,
    labelled,
    tiny_disk,
):
    (checkpoint,) = trained("mast").glob("*.ckpt")
    disk = tiny_disk(1)
    given = {"checkpoint": str(checkpoint), "dataset": str(labelled), "tasks": ["hue"]}
    given |= {"protocols": ["knn"], "num_workers": 0, "output": str(disk / "out"), "cache": False}
    with pytest.raises(StorageError) as caught:
        evaluate_and_report(OmegaConf.create(given))
    assert str(caught.value).startswith(f"cannot write {disk}/out")
    assert str(caught.value).endswith(
        "No space left on device; free some space and start again: what is finished is kept"
    )
    left = [path for path in (disk / "out").rglob("*") if path.is_file()]
    assert not [path for path in left if path.name.endswith(".part") or not path.stat().st_size]
    assert disk / "out" / "evaluation.json" in left
    for path in left:
        if path.suffix == ".png":
            Image.open(path).load()
        if path.suffix == ".svg":
            assert path.read_text().rstrip().endswith("</svg>")
    tiny_disk(64, again=True)
    assert (evaluate_and_report(OmegaConf.create(given)).folder / "report.html").is_file()


def test_tables_and_pictures_that_do_not_fit_leave_the_ones_before(tmp_path):
    figure = new_figure(2, 1)
    save(figure, tmp_path, "a")
    write(tmp_path / "b", {}, [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    rows = [Measurement("backbone", "knn", "x" * 50, "top1", float(n)) for n in range(20)]
    for attempt in (lambda: save(figure, tmp_path, "a"), lambda: write(tmp_path / "b", {}, rows)):
        refused = pytest.raises(StorageError, match="File too large; free some space")
        with refused, largest_file(100), full_disk_explained(tmp_path):
            attempt()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
