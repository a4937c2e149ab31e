"""A folder to a file of vectors: formats, interruption, what is refused."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from mast_plugin import embed, load_backbone, load_model
from mast_plugin.deployment import embedded_file, part
from mast_plugin.deployment.embedded_file import checked, embed_to_file
from mast_plugin.deployment.embedding import Embedder
from mast_plugin.errors import ConfigurationError, DataError

MAIN = Path(__file__).parents[2] / "main_embed.py"


@pytest.fixture
def photos(image_folder, tmp_path):
    """Three images of one class, two of another, one beside them."""
    files = ["ant/0.png", "ant/1.png", "ant/2.png", "bee/0.png", "bee/1.png"]
    for name in files:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes((image_folder / name).read_bytes())
    (tmp_path / "photos" / "loose.png").write_bytes((image_folder / "cat/0.png").read_bytes())
    return tmp_path / "photos"


@pytest.fixture
def options(checkpoint, photos, tmp_path):
    def make(**changes):
        given = {
            "checkpoint": str(checkpoint),
            "data": str(photos),
            "output": str(tmp_path / "out" / "features.npz"),
            "num_workers": 0,
            "batch_size": 4,
            "device": "cpu",
        }
        return OmegaConf.create({**given, **changes})

    return make


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(part, "PART_ROWS", 2)


NAMES = ["ant/0.png", "ant/1.png", "ant/2.png", "bee/0.png", "bee/1.png", "loose.png"]
LABELS = ["ant", "ant", "ant", "bee", "bee", ""]


@pytest.fixture
def expected(checkpoint, photos):
    backbone, transform = load_backbone(checkpoint)
    return embed(backbone, photos, transform, progress=False).features


def test_an_npz_holds_features_files_and_labels(options, expected, tmp_path, small_parts):
    written = embed_to_file(options())
    with np.load(tmp_path / "out" / "features.npz") as found:
        assert set(found) == {"features", "file", "label"}
        assert found["features"].dtype == np.float32
        torch.testing.assert_close(torch.from_numpy(found["features"]), expected)
        assert found["file"].tolist() == NAMES and found["label"].tolist() == LABELS
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["features.npz"]
    assert str(written).endswith("features.npz holds 6 vectors of 512 numbers, with file, label")


@pytest.mark.parametrize("ending", [".npy", ".safetensors"])
def test_what_holds_vectors_alone_has_a_table_beside_it(options, expected, tmp_path, ending):
    path = tmp_path / f"f{ending}"
    written = embed_to_file(options(output=str(path)))
    found = torch.from_numpy(np.load(path)) if ending == ".npy" else load_file(path)["features"]
    torch.testing.assert_close(found, expected)
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == NAMES and [row["label"] for row in rows] == LABELS
    assert "f.csv what they are of (file, label)" in str(written)


def test_a_csv_reads_back_as_the_same_numbers(options, expected, tmp_path):
    embed_to_file(options(output=str(tmp_path / "f.csv")))
    header, *rows = csv.reader((tmp_path / "f.csv").read_text().splitlines())
    assert header == ["file", "label", *map(str, range(512))]
    values = np.array([row[2:] for row in rows]).astype(np.float32)
    torch.testing.assert_close(torch.from_numpy(values), expected)
    assert [row[0] for row in rows] == NAMES


def test_a_parquet_file_has_a_list_in_each_row(options, expected, tmp_path, small_parts):
    parquet = pytest.importorskip("pyarrow.parquet")
    embed_to_file(options(output=str(tmp_path / "f.parquet")))
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.column_names == ["file", "label", "features"]
    assert table["label"].to_pylist() == [label or None for label in LABELS]
    torch.testing.assert_close(torch.tensor(table["features"].to_pylist()), expected)


def test_parquet_without_its_package_is_refused(options, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mast-plugin\[export\]'"):
        checked(options(output="f.parquet"))


def test_labels_that_are_numbers_stay_numbers(options, photos, tmp_path):
    (photos / "table.csv").write_text("file,label\nant/0.png,3\nbee/1.png,1\n")
    embed_to_file(options(data=str(photos / "table.csv")))
    with np.load(tmp_path / "out" / "features.npz") as found:
        assert found["label"].tolist() == [3, 1]
        assert found["file"].tolist() == ["ant/0.png", "bee/1.png"]


@pytest.mark.parametrize(
    "choice",
    [
        {"representation": "embedding"},
        {"invariant_to": ["crop", "horizontal_flip"]},
        {"free_of": "color_jitter", "representation": "subspace"},
    ],
)
def test_a_representation_is_that_of_the_module(options, checkpoint, photos, tmp_path, choice):
    model, transform = load_model(checkpoint)
    chosen = {key: value for key, value in choice.items() if key != "representation"}
    expected = embed(model, photos, transform, progress=False, **chosen).features
    embed_to_file(options(**choice))
    with np.load(tmp_path / "out" / "features.npz") as found:
        torch.testing.assert_close(torch.from_numpy(found["features"]), expected)


def test_the_view_and_a_saved_module_are_taken(options, checkpoint, photos, tmp_path):
    model, transform = load_model(checkpoint, size=16)
    model.save(tmp_path / "model.safetensors", transform)
    for name in (checkpoint, tmp_path / "model.safetensors"):
        embed_to_file(options(checkpoint=str(name), view={"crop_size": 16}, overwrite=True))
        with np.load(tmp_path / "out" / "features.npz") as found:
            expected = embed(model.backbone, photos, transform, progress=False).features
            torch.testing.assert_close(torch.from_numpy(found["features"]), expected)


# --- going on ------------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


@pytest.fixture
def seen(monkeypatch):
    """Numbers of the images that go through the network; it stops after ``seen.left`` batches."""
    batches = Embedder.batches

    class Seen(list):
        left = 10**9

    record = Seen()

    def counted(self, source, start=0, stop=None):
        for batch in batches(self, source, start, stop):
            if record.left == 0:
                raise StoppedError
            record.left -= 1
            record.extend(range(start, start + len(batch.labels)))
            start += len(batch.labels)
            yield batch

    monkeypatch.setattr(Embedder, "batches", counted)
    return record


@pytest.fixture
def interrupted(options, seen, small_parts):
    """Three batches of one image: one part is whole, another is not."""
    seen.left = 3
    with pytest.raises(StoppedError):
        embed_to_file(options(batch_size=1))
    seen.clear()
    seen.left = 10**9
    return options


def features(tmp_path):
    with np.load(tmp_path / "out" / "features.npz") as found:
        return torch.from_numpy(found["features"])


def test_an_interrupted_call_goes_on(interrupted, seen, expected, tmp_path):
    seen.clear()
    embed_to_file(interrupted(batch_size=3))
    assert seen == [2, 3, 4, 5]
    torch.testing.assert_close(features(tmp_path), expected)


def test_another_question_starts_anew(interrupted, seen, tmp_path):
    embed_to_file(interrupted(precision="bfloat16"))
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_part_whose_images_have_changed_is_made_again(interrupted, seen, photos, tmp_path):
    (photos / "ant/1.png").write_bytes((photos / "loose.png").read_bytes() + b"\0")
    embed_to_file(interrupted())
    assert seen == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(features(tmp_path)[1], features(tmp_path)[5])


def test_a_damaged_part_is_made_again(interrupted, seen, tmp_path):
    (path,) = (tmp_path / "out" / ".features.npz.parts").glob("0*.npz")
    path.write_bytes(path.read_bytes()[:-200])
    embed_to_file(interrupted())
    assert seen == [0, 1, 2, 3, 4, 5]


def test_a_call_that_only_lacks_the_joining_embeds_nothing(options, seen, small_parts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(embedded_file, "_join", lambda *_: (_ for _ in ()).throw(StoppedError))
        with pytest.raises(StoppedError):
            embed_to_file(options())
    assert seen == list(range(6))
    embed_to_file(options())
    assert seen == list(range(6))


def test_an_image_that_is_mended_costs_its_part_alone(options, seen, photos, small_parts):
    good = (photos / "bee/0.png").read_bytes()
    (photos / "bee/0.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"bee/0.png cannot be read as an image"):
        embed_to_file(options(batch_size=1))
    assert seen == [0, 1, 2]
    (photos / "bee/0.png").write_bytes(good)
    seen.clear()
    embed_to_file(options(batch_size=1))
    assert seen == [2, 3, 4, 5]


def test_unreadable_images_are_listed(options, photos, tmp_path):
    (photos / "bee/0.png").write_bytes(b"\x89PNG")
    written = embed_to_file(options(unreadable="list"))
    with np.load(tmp_path / "out" / "features.npz") as found:
        assert [bool(error) for error in found["error"]] == [False] * 3 + [True] + [False] * 2
        assert np.isnan(found["features"][3]).all() and found["label"][3] == "bee"
        assert np.isfinite(np.delete(found["features"], 3, 0)).all()
    assert str(written).endswith("; 1 could not be read: see the column error")


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"output": "f.txt"}, "output=f.txt says no format .* end it with .npz, .npy"),
        ({"representation": "embedding", "free_of": ["crop"]}, "free_of chooses a subspace"),
        ({"representation": "subspace"}, "does not say which: give invariant_to"),
        ({"invariant_to": ["hue"]}, "invariant_to names 'hue', .* crop, color_jitter"),
        ({"representation": "embedding", "backbone": {"name": "resnet18"}}, "backbone alone"),
        ({"checkpoint": "nowhere.ckpt"}, "nowhere.ckpt does not exist"),
        ({"sise": 3}, "sise is not an option of mast-embed"),
        ({"data": "???"}, "data is missing"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(options, tmp_path, changes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        embed_to_file(options(**changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["features.npz", "f.npy"])
def test_what_is_there_is_replaced_only_when_asked(options, tmp_path, name):
    (tmp_path / "out").mkdir()
    there = tmp_path / "out" / name.replace(".npy", ".csv")
    there.write_text("mine")
    cfg = options(output=str(tmp_path / "out" / name))
    with pytest.raises(ConfigurationError, match=rf"{there.name} is there already.*overwrite=true"):
        embed_to_file(cfg)
    assert there.read_text() == "mine"
    embed_to_file(OmegaConf.merge(cfg, {"overwrite": True}))
    assert there.read_bytes() != b"mine"


@pytest.mark.slow
def test_the_command_writes_a_file_and_says_so(checkpoint, photos, tmp_path):
    command = [sys.executable, "-W", "ignore", str(MAIN), f"checkpoint={checkpoint}"]
    command += [f"data={photos}", "invariant_to=[crop]", "output=my file.npz", "batch_size=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "my file.npz holds 6 vectors of 12 numbers, with file, label\n"
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and again.stdout == ""
    assert again.stderr == (
        "mast-embed: my file.npz is there already: give overwrite=true to replace it, or another "
        "output\n"
    )
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == (
        '["my file.npz", "photos"]'
    )
