from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.choice import chosen_views
from mast_plugin.loading.data import (
    num_classes,
    training_images,
    training_loader,
    validation_loader,
)
from mast_plugin.loading.image import check_images
from mast_plugin.loading.named import normalisation
from mast_plugin.setting.configuration import resolve
from mast_plugin.views.torchvision import CentredView

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(6):
            colour = (40 * index, 0, 200 if name == "bee" else 0)
            Image.new("RGB", (16, 16), colour).save(tmp_path / "train" / name / f"{index}.png")
    return tmp_path / "train"


def opened(small, folder, *overrides):
    return training_images(resolve(small("mast", f"data.train_path={folder}", *overrides)))


def test_loader_gives_indexed_views_and_drops_the_short_batch(small, folder):
    cfg = resolve(small("mast", f"data.train_path={folder}"))
    torch.manual_seed(0)
    batches = list(training_loader(cfg, training_images(cfg), CentredView(32)))
    assert len(batches) == 1
    index, views, label = batches[0]
    assert views.shape == (8, 3, 32, 32)
    assert all((i >= 6) == bool(target) for i, target in zip(index, label, strict=True))


def test_validation_keeps_every_image(small, folder):
    cfg = resolve(small("mast", f"data.val_path={folder}"))
    loader = validation_loader(cfg, CentredView(32))
    assert sum(len(label) for _, label in loader) == 12
    assert validation_loader(resolve(small("mast")), CentredView(32)) is None


def test_unlabelled_images_are_found_at_any_depth_and_share_a_label(small, folder):
    cfg = resolve(small("mast", f"data.train_path={folder}", "data.no_labels=true"))
    images = training_images(cfg)
    assert len(images) == 12 and num_classes(cfg, images) == 1
    (_, _, label), *_ = list(training_loader(cfg, images, CentredView(32)))
    assert not label.any()


def test_unlabelled_images_of_a_labelled_dataset_share_a_label_too(small, folder):
    cfg = resolve(small("mast", f"data.train_path={folder}", "data.no_labels=true"))
    labelled = opened(small, folder)
    assert {label for _, label in labelled} == {0, 1}
    batches = list(training_loader(cfg, labelled, CentredView(32)))
    assert not any(label.any() for *_, label in batches)


SPLITS = {
    "cifar10": ("CIFAR10", {"train": True}, {"train": False}),
    "cifar100": ("CIFAR100", {"train": True}, {"train": False}),
    "stl10": ("STL10", {"split": "train+unlabeled"}, {"split": "test"}),
}


@pytest.mark.parametrize("dataset", SPLITS)
def test_a_known_dataset_is_validated_on_the_images_that_nothing_is_trained_on(
    dataset, small, folder, monkeypatch
):
    """The images themselves would have to be downloaded: these are others, asked for alike."""
    name, *expected = SPLITS[dataset]
    asked = []

    def open_(root, *, download, **split):
        asked.append(split)
        return ImageFolder(root)

    monkeypatch.setattr(f"torchvision.datasets.{name}", open_)
    cfg = resolve(small("mast", f"data.dataset={dataset}", f"data.train_path={folder}"))
    training_images(cfg)
    assert validation_loader(cfg, CentredView(32)) is not None
    assert asked == expected


@pytest.mark.parametrize("method", ["mast", "vicreg"])
@pytest.mark.parametrize(("dataset", "red"), [("cifar10", 0.4914), ("custom", 0.485)])
def test_views_are_normalised_by_the_datasets_own_statistics(dataset, red, method, small):
    views = chosen_views(resolve(small(method, f"data.dataset={dataset}")))
    statistics = normalisation(dataset)
    plans = [views.transform.plan] if method == "mast" else [s.plan for s in views.transform.specs]
    assert statistics["mean"][0] == red
    assert all({"mean": plan.mean, "std": plan.std} == statistics for plan in plans)
    mean, std = (torch.tensor(statistics[name]) for name in ("mean", "std"))
    white = views.centred(Image.new("RGB", (32, 32), "white"))
    torch.testing.assert_close(white[:, 0, 0], (1 - mean) / std)


def test_fraction_keeps_a_share_that_the_seed_decides(small, folder):
    overrides = ("data.fraction=0.75", "optimizer.batch_size=2")
    first, again, other = (
        opened(small, folder, *overrides, f"seed={seed}").indices for seed in (1, 1, 2)
    )
    assert len(first) == 9 and first == again and first != other


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["data.train_path=/nowhere"], DataError, "/nowhere does not exist"),
        (["optimizer.batch_size=13"], DataError, "12 images, fewer than one batch"),
        (["data.fraction=2"], ConfigurationError, "data.fraction is 2"),
        (["data.dataset=mnist"], ConfigurationError, "one of cifar10, .*custom"),
        (["data.format=h5"], ConfigurationError, "data.format is 'h5'"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(overrides, error, message, small, folder):
    with pytest.raises(error, match=message):
        opened(small, folder, *overrides)


def test_an_empty_class_folder_is_named(small, folder):
    (folder / "cow").mkdir()
    with pytest.raises(DataError, match="cow holds no images"):
        opened(small, folder)


def test_a_folder_without_classes_is_refused(small, folder):
    with pytest.raises(DataError, match=r"no class folders.*data\.no_labels=true"):
        opened(small, folder / "ant")


def test_an_unreadable_image_is_named_unless_the_check_is_off(small, folder):
    whole = (folder / "ant" / "3.png").read_bytes()
    (folder / "ant" / "3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bee" / "1.png").write_text("not an image")
    with pytest.raises(DataError, match=r"ant/3.png cannot be read .*\(and 1 more\)"):
        opened(small, folder)
    images = opened(small, folder, "data.check=false")
    with pytest.raises(DataError, match=r"ant/3.png cannot be read as an image"):
        images[3]


def test_checking_good_images_is_silent(folder):
    check_images([str(path) for path in folder.rglob("*.png")])
