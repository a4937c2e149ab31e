"""Features kept on disk: when they are made again, and when not."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mast_plugin.errors import DataError
from mast_plugin.evaluation import version
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.features.store import FeatureStore, project
from mast_plugin.evaluation.features.view import ViewStatistics

VIEW = ViewStatistics(16)


class Counting(nn.Module):
    """A tiny backbone that counts the images it has seen."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU())
        self.seen = 0

    def forward(self, images):
        self.seen += len(images)
        return self.layers(images)


@pytest.fixture
def files(image_folder, tmp_path):
    """Twenty images of our own, which a test may change."""
    paths = []
    for number, path in enumerate(sorted(image_folder.rglob("*.png"))[:20]):
        paths.append(tmp_path / f"{number}.png")
        Image.open(path).save(paths[-1])
    return paths


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache" / "features", batch_size=8)


def test_features_are_made_once(store, files):
    network = Counting()
    first = store.features(network, "abc", files, VIEW)
    again = store.features(network, "abc", files, VIEW)
    expected = extract_features(Counting(), files, VIEW.centred())
    torch.testing.assert_close(first, expected)
    assert torch.equal(first, again) and first.dtype == torch.float32
    assert network.seen == 20


def change_nothing(files):
    return {}


def change_image(files):
    Image.new("RGB", (30, 30)).save(files[3])
    return {}


def touch_image(files):
    os.utime(files[3], ns=(1, 1))
    return {}


CHANGES = [
    (change_nothing, 0),
    (change_image, 20),
    (touch_image, 20),
    (lambda files: {"checkpoint": "abd"}, 20),
    (lambda files: {"view": ViewStatistics(12)}, 20),
    (lambda files: {"view": ViewStatistics(16, mean=(0.5, 0.5, 0.5))}, 20),
    (lambda files: {"view": ViewStatistics(16, std=(0.5, 0.5, 0.5))}, 20),
    (lambda files: {"files": files[::-1]}, 20),
    (lambda files: {"files": files[:-1]}, 19),
]


@pytest.mark.parametrize(("change", "seen"), CHANGES)
def test_they_are_made_again_where_anything_differs(store, files, change, seen):
    store.features(Counting(), "abc", files, VIEW)
    network = Counting()
    given = {"checkpoint": "abc", "files": files, "view": VIEW} | change(files)
    found = store.features(network, given["checkpoint"], given["files"], given["view"])
    assert network.seen == seen
    expected = extract_features(Counting(), given["files"], given["view"].centred())
    torch.testing.assert_close(found, expected)


def test_the_same_weights_in_another_network_are_another_entry(store, files):
    store.features(Counting(), "abc", files, VIEW)
    other = Counting()
    other.layers[0].stride = (2, 2)
    store.features(other, "abc", files, VIEW)
    assert other.seen == 20


@pytest.mark.parametrize("what", ["LOADING", "VIEWS"])
def test_what_loads_the_images_otherwise_makes_another_entry(store, files, what, monkeypatch):
    store.features(Counting(), "abc", files, VIEW)
    monkeypatch.setattr(version, what, getattr(version, what) + 1)
    other = Counting()
    store.features(other, "abc", files, VIEW)
    assert other.seen == 20


def test_embeddings_do_not_touch_the_entry(store, files):
    features = store.features(Counting(), "abc", files, VIEW)
    before = features.clone()
    features.zero_()
    assert torch.equal(store.features(Counting(), "abc", files, VIEW), before)


def cut(array):
    array.write_bytes(array.read_bytes()[:200])


def flip_a_bit(array):
    content = bytearray(array.read_bytes())
    content[-5] ^= 1
    array.write_bytes(content)


def lose_the_note(array):
    array.with_suffix(".json").unlink()


def break_the_note(array):
    array.with_suffix(".json").write_text("[")


def empty_the_note(array):
    array.with_suffix(".json").write_text("[]")


DAMAGES = [cut, flip_a_bit, lose_the_note, break_the_note, empty_the_note]


@pytest.mark.parametrize("damage", [*DAMAGES, lambda array: array.unlink()])
def test_a_damaged_entry_is_made_again(store, files, damage):
    expected = store.features(Counting(), "abc", files, VIEW).clone()
    (array,) = store.folder.glob("*.npy")
    damage(array)
    network = Counting()
    assert torch.equal(store.features(network, "abc", files, VIEW), expected)
    assert network.seen == 20
    store.features(network, "abc", files, VIEW)
    assert network.seen == 20


def test_an_interrupted_extraction_leaves_nothing(store, files):
    class Failing(Counting):
        def forward(self, images):
            if self.seen == 8:
                raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        store.features(Failing(), "abc", files, VIEW)
    assert list(store.folder.iterdir()) == []


def test_nothing_is_kept_without_a_folder(files, tmp_path):
    network = Counting()
    for _ in range(2):
        features = FeatureStore(None).features(network, "abc", files, VIEW)
    assert network.seen == 40 and features.shape == (20, 36)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_folder_that_cannot_be_made_is_refused(files, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="name another folder"):
        FeatureStore(tmp_path / "taken").features(Counting(), "abc", files, VIEW)


def test_a_missing_image_is_refused(store, files):
    files[0].unlink()
    with pytest.raises(DataError, match=r"0\.png cannot be read"):
        store.features(Counting(), "abc", files, VIEW)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="no images"):
        extract_features(Counting(), [], VIEW.centred())


def test_extraction_fills_the_array_that_it_is_given(files):
    made = []

    def allocate(shape):
        made.append(np.full(shape, np.nan, dtype=np.float32))
        return made[0]

    features = extract_features(Counting(), files, VIEW.centred(), batch_size=3, out=allocate)
    assert np.shares_memory(features.numpy(), made[0]) and len(made) == 1
    torch.testing.assert_close(features, extract_features(Counting(), files, VIEW.centred()))


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (False, False), (None, False)])
def test_progress_is_shown_where_asked_for(files, capfd, progress, shown):
    """Under test, standard error is no terminal."""
    extract_features(Counting(), files, VIEW.centred(), progress=progress)
    out, err = capfd.readouterr()
    assert out == "" and ("Features" in err) is shown


def test_projection_goes_batch_by_batch_in_evaluation_mode():
    features = torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    projector = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).train()
    projected = project(projector, features, batch_size=3)
    torch.testing.assert_close(projected, projector.eval()(features).detach())
    assert not projected.is_inference()
    torch.testing.assert_close(project(lambda x: 2 * x, features), 2 * features)
