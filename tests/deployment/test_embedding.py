"""Vectors of images, from wherever they come."""

import io
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import IterableDataset
from torchvision.datasets import ImageFolder

from mast_plugin import embed
from mast_plugin.deployment.source import folder_labels
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError, DataError

TRANSFORM = ImageTransform(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Means(nn.Module):
    """Mean colour of each of four quarters: (N, 3, H, W) to (N, 3, 2, 2)."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images, factor=1.0):
        self.sizes.append(len(images))
        return nn.functional.adaptive_avg_pool2d(images, 2) * factor


def expected(files) -> torch.Tensor:
    views = torch.stack([TRANSFORM(file) for file in files])
    return nn.functional.adaptive_avg_pool2d(views, 2).flatten(1)


@pytest.fixture
def files(image_folder):
    return sorted(image_folder.rglob("*.png"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_folder_gives_vectors_names_and_labels_in_order(image_folder, files, workers):
    model = Means().train()
    found = embed(model, image_folder, TRANSFORM, batch_size=5, workers=workers, progress=False)
    torch.testing.assert_close(found.features, expected(files), rtol=0, atol=1e-6)
    assert found.features.shape == (24, 12) and found.features.dtype == torch.float32
    assert found.files == tuple(str(each.relative_to(image_folder)) for each in files)
    assert found.labels == ("ant",) * 8 + ("bee",) * 8 + ("cat",) * 8
    assert found.errors is None and not found.features.is_inference()
    assert model.sizes == [5, 5, 5, 5, 4] and model.training


def test_the_global_random_state_is_left_alone(image_folder):
    before = torch.get_rng_state()
    embed(Means(), image_folder, TRANSFORM, progress=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("labelled", [True, False])
def test_a_table_gives_the_names_that_it_states(image_folder, files, tmp_path, labelled):
    header, end = ("file,label", ",x") if labelled else ("file", "")
    rows = [f"{each}{end}" for each in (files[3], files[0])]
    (tmp_path / "own.png").write_bytes(files[5].read_bytes())
    (tmp_path / "table.csv").write_text("\n".join([header, *rows, f"own.png{end}"]))
    found = embed(Means(), tmp_path / "table.csv", TRANSFORM, progress=False)
    torch.testing.assert_close(found.features, expected([files[3], files[0], files[5]]))
    assert found.files == (str(files[3]), str(files[0]), "own.png")
    assert found.labels == (("x",) * 3 if labelled else None)


def shard(path, files, labelled):
    with tarfile.open(path, "w") as tar:
        for number, file in enumerate(files):
            parts = {"png": file.read_bytes()} | ({"cls": b"%d" % number} if labelled else {})
            for suffix, content in parts.items():
                member = tarfile.TarInfo(f"{number:04}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("labelled", [True, False])
def test_shards_are_read_in_place(files, tmp_path, labelled):
    shard(tmp_path / "b.tar", files[:2], labelled)
    shard(tmp_path / "a.tar", files[2:3], labelled)
    found = embed(Means(), tmp_path, TRANSFORM, progress=False)
    torch.testing.assert_close(found.features, expected([files[2], files[0], files[1]]))
    assert found.files == ("a.tar/0000.png", "b.tar/0000.png", "b.tar/0001.png")
    assert found.labels == ((0, 0, 1) if labelled else None)
    alone = embed(Means(), tmp_path / "a.tar", TRANSFORM, progress=False)
    assert alone.files == ("a.tar/0000.png",)


def test_lists_hold_images_and_paths(files):
    found = embed(Means(), [files[1], Image.open(files[0])], TRANSFORM, progress=False)
    torch.testing.assert_close(found.features, expected(files[1::-1]))
    assert found.files == (str(files[1]), "") and found.labels is None
    assert embed(Means(), [Image.open(files[0])], TRANSFORM, progress=False).files is None
    assert embed(Means(), files[0], TRANSFORM, progress=False).files == ("0.png",)


def test_datasets_give_images_alone_with_labels_or_by_name(image_folder, files):
    found = embed(Means(), ImageFolder(image_folder), TRANSFORM, progress=False)
    torch.testing.assert_close(found.features, expected(files))
    assert found.labels == (0,) * 8 + (1,) * 8 + (2,) * 8 and found.files is None

    class Named:  # as Hugging Face's: each item is a mapping
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"label": np.int64(index + 5), "image": Image.open(files[index])}

    found = embed(Means(), Named(), TRANSFORM, progress=False)
    torch.testing.assert_close(found.features, expected(files[:2]))
    assert found.labels == (5, 6)


def test_options_and_transforms_of_ones_own_are_taken(files):
    def transform(image):
        assert image.mode == "RGB"
        return torch.full((3, 4, 4), float(image.width))

    found = embed(Means(), files[:2], transform, factor=2.0, progress=False)
    assert torch.equal(found.features, torch.full((2, 12), 48.0))


def test_an_orientation_is_heeded_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    transform = ImageTransform(8, (0, 0, 0), (1, 1, 1))
    for image in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        found = embed(Means(), [image], transform, progress=False)
        assert found.features.view(3, 2, 2)[0].tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("broken", [(2,), (0, 1, 2, 3, 4, 5)])
def test_unreadable_images_are_refused_or_listed(files, tmp_path, broken):
    for number, file in enumerate(files[:6]):
        content = b"\x89PNG broken" if number in broken else file.read_bytes()
        (tmp_path / f"{number}.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"^\S+{broken[0]}.png cannot be read as an image"):
        embed(Means(), tmp_path, TRANSFORM, progress=False)
    found = embed(Means(), tmp_path, TRANSFORM, unreadable="list", batch_size=4, progress=False)
    lost = torch.isin(torch.arange(6), torch.tensor(broken))
    assert torch.equal(found.features.isnan().all(1), lost)
    assert torch.equal(found.features.isnan().any(1), lost)
    torch.testing.assert_close(
        found.features[~lost], expected(tmp_path / f"{n}.png" for n in range(6) if n not in broken)
    ) if len(broken) < 6 else None
    assert [bool(error) for error in found.errors] == lost.tolist()
    assert found.features.shape == (6, 12)


def test_autocast_is_used_where_it_is_asked_for(files):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    exact = embed(model, files[:4], TRANSFORM, progress=False).features
    half = embed(model, files[:4], TRANSFORM, precision="bfloat16", device="cpu").features
    assert half.dtype == torch.float32 and not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)


def test_labels_are_the_first_folders_below_splits():
    assert folder_labels(["a.png", "b.png"]) is None
    assert folder_labels(["a.png", "x/1/b.png"]) == [None, "x"]
    assert folder_labels(["train/x/a.png", "Val/y/b.png", "val/c.png"]) == ["x", "y", None]


class Endless(IterableDataset):
    def __iter__(self):
        yield from ()


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([], "there are no images to embed"),
        (Endless(), "Endless cannot be embedded: give a folder, .*map-style dataset"),
        (5, "int cannot be embedded"),
        ({"a": 1}, "a mapping of .* cannot be embedded"),
        ([torch.zeros(3, 8, 8)], "item 0 is no image or path but Tensor"),
        ("nowhere/at/all", "nowhere/at/all is not there: give a folder"),
    ],
)
def test_what_holds_no_images_is_refused(images, sentence):
    with pytest.raises(DataError, match=sentence):
        embed(Means(), images, TRANSFORM)


def test_a_dataset_of_tensors_is_refused():
    class Tensors:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return torch.zeros(3, 8, 8), 0

    with pytest.raises(DataError, match="item 0 of the dataset has no PIL image but Tensor"):
        embed(Means(), Tensors(), TRANSFORM, progress=False)


@pytest.mark.parametrize("option", ["precision", "unreadable"])
def test_an_unknown_choice_is_refused_with_the_list(option, files):
    with pytest.raises(ConfigurationError, match=rf"{option} is 'x'; it must be one of .*, "):
        embed(Means(), files[:1], TRANSFORM, **{option: "x"})


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        embed(Means(), tmp_path, TRANSFORM)


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"notes.txt is no image .*give one of them, or a folder"):
        embed(Means(), tmp_path / "notes.txt", TRANSFORM)
