import csv
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.loading.data import num_classes, training_images, training_loader
from mast_plugin.loading.image import load_image
from mast_plugin.loading.shard import TarImages, read_index
from mast_plugin.setting.configuration import resolve
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.plan import Plan
from mast_plugin.views.torchvision import PlainViews, RoutedViews

from ..hostile import material

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'mast-plugin[dali]'")

from mast_plugin.loading.dali import loader as loading
from mast_plugin.loading.dali import require_dali
from mast_plugin.loading.dali.configured import chosen_device, draws_of
from mast_plugin.loading.dali.loader import DALILoader
from mast_plugin.loading.dali.source import Files, Share, source_of

pytestmark = pytest.mark.slow

MAIN = Path(__file__).parents[2] / "main_pretrain.py"
COUNT = 23
PLAN = Plan(
    8, (Augmentation("crop", 1.0), Augmentation("horizontal_flip", 0.5)), (0,) * 3, (1,) * 3
)
VIEWS = RoutedViews(PLAN, RoutePolicy(0.2, 0.5))


def colour(index):
    return (10 * index, 255 - 10 * index, 40)


def label_of(index):
    return index % 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Image ``i``, in the order of ImageFolder, is of one colour that says so."""
    root = tmp_path_factory.mktemp("train")
    for index in range(COUNT):
        name = f"class{index // 8}"
        (root / name).mkdir(exist_ok=True)
        Image.new("RGB", (20, 14), colour(index)).save(root / name / f"{index:02}.png")
    return root


@pytest.fixture
def files(folder):
    return Files(ImageFolder(str(folder)).samples)


def loader(source, batch_size=4, seed=3, views=VIEWS):
    return DALILoader(
        source, draws_of(views), batch_size=batch_size, seed=seed, device="cpu", num_threads=1
    )


def shown(view):
    """Which images the views of a batch show, by their colour."""
    return (view[:, 0].mean((1, 2)) * 255 / 10).round().long()


def epoch(loader_):
    """Indexes of an epoch in order, having checked that they tell the truth."""
    order = []
    for index, pair, label in loader_:
        assert isinstance(pair, RoutedPair)
        first, second, route, _ = pair
        assert torch.equal(shown(first), index) and torch.equal(shown(second), index)
        assert torch.equal(label, torch.from_numpy(loader_.source.labels)[index])
        assert first.shape == second.shape == (len(index), 3, 8, 8)
        assert first.dtype == torch.float32 and route.shape == (len(index), 2)
        assert index.dtype == label.dtype == torch.int64 and route.dtype == torch.bool
        order += index.tolist()
    return order


def test_an_epoch_gives_every_image_once_but_for_the_last_batch(files):
    loader_ = loader(files)
    assert len(loader_) == COUNT // 4 == len(list(loader_))
    order = epoch(loader_)
    assert len(order) == len(set(order)) == 4 * (COUNT // 4)


def test_an_exact_number_of_batches_leaves_nothing_out(files):
    loader_ = loader(files, batch_size=COUNT)
    assert len(loader_) == 1
    assert [sorted(epoch(loader_)) for _ in range(3)] == [list(range(COUNT))] * 3


def test_processes_share_an_epoch_without_overlap(files, monkeypatch):
    parts = []
    for rank in range(2):
        monkeypatch.setattr(loading, "_process", lambda rank=rank: (rank, 2))
        loader_ = loader(files)
        assert len(loader_) == COUNT // 8
        batches = [(index, route) for index, (_, _, route, _), _ in loader_]
        parts.append([i for index, _ in batches for i in index.tolist()])
        assert len(batches) == COUNT // 8
    assert len(set(parts[0]) | set(parts[1])) == 2 * 4 * (COUNT // 8)


def test_processes_share_every_epoch_anew(files, monkeypatch):
    parts = []
    for rank in range(2):
        monkeypatch.setattr(loading, "_process", lambda rank=rank: (rank, 2))
        loader_ = loader(files)
        parts.append([])
        for number in range(3):
            loader_.sampler.set_epoch(number)
            parts[rank].append(epoch(loader_))
    assert not any(set(one) & set(other) for one, other in zip(*parts, strict=True))
    assert all(len({str(sorted(order)) for order in orders}) == 3 for orders in parts)


def test_processes_draw_different_routes(files, monkeypatch):
    routes = []
    for rank in range(2):
        monkeypatch.setattr(loading, "_process", lambda rank=rank: (rank, 2))
        routes.append(torch.cat([route for _, (_, _, route, _), _ in loader(files)]))
    assert not torch.equal(*routes)


def test_every_epoch_draws_anew_whatever_its_order(files):
    loader_ = loader(files)
    routes = [torch.cat([route for _, (_, _, route, _), _ in loader_]) for _ in range(2)]
    assert not torch.equal(*routes)


def test_every_epoch_is_shuffled_anew_and_the_seed_repeats_it(files):
    loader_ = loader(files)
    orders = [epoch(loader_) for _ in range(3)]
    assert orders[0] != orders[1] != orders[2] != sorted(orders[2])
    again, other = loader(files), loader(files, seed=4)
    assert [epoch(again) for _ in range(3)] == orders
    assert epoch(other) != orders[0]


def test_views_repeat_with_seed_and_epoch_and_resume_where_they_were(image_folder):
    source = Files(ImageFolder(str(image_folder)).samples)

    def views(loader_):
        return torch.cat([torch.cat(views[:2]) for _, views, _ in loader_])

    whole = loader(source)
    epochs = [views(whole) for _ in range(3)]
    assert not torch.equal(epochs[0], epochs[1])
    resumed = loader(source)
    resumed.sampler.set_epoch(2)
    assert torch.equal(views(resumed), epochs[2])


def test_an_interrupted_epoch_leaves_nothing_behind(files):
    loader_ = loader(files)
    for _ in loader_:
        break
    order = epoch(loader_)
    fresh = loader(files)
    fresh.set_epoch(1)
    assert order == epoch(fresh)


def test_batches_keep_their_values(files):
    """DALI takes its buffers back; what a batch holds must not change under it."""
    batches = [views[0] for _, views, _ in loader(files)]
    copies = [batch.clone() for batch in batches]
    list(loader(files))
    assert all(torch.equal(a, b) for a, b in zip(batches, copies, strict=True))


def test_plain_views_come_without_a_route(files):
    from mast_plugin.views.plan import ViewSpec

    index, views, _ = next(iter(loader(files, views=PlainViews([ViewSpec(PLAN, 3)]))))
    assert len(views) == 3
    assert all(torch.equal(shown(view), index) for view in views)


def test_a_share_of_a_source_is_counted_anew(files):
    share = Share(files, [2, 5, 7, 11])
    (batch,) = loader(share)
    index, views, label = batch
    assert sorted(index.tolist()) == [0, 1, 2, 3]
    assert torch.equal(shown(views[0]), torch.tensor([2, 5, 7, 11])[index])
    assert torch.equal(label, torch.from_numpy(files.labels[[2, 5, 7, 11]])[index])
    orders = {tuple(share.shuffled(np.random.default_rng(seed))) for seed in range(9)}
    assert len(orders) > 4 and all(sorted(order) == [0, 1, 2, 3] for order in orders)


# --- from a configuration ----------------------------------------------------------------------


def opened(small, path, *overrides):
    """Images and loader of a configuration, as ``mast-pretrain`` opens them."""
    cfg = resolve(
        small("mast", f"data.train_path={path}", "data.format=dali", "dali.device=cpu", *overrides)
    )
    images = training_images(cfg)
    return cfg, images, training_loader(cfg, images, VIEWS)


def test_a_folder_is_ordered_and_labelled_as_imagefolder(small, folder):
    cfg, images, loader_ = opened(small, folder)
    reference = ImageFolder(str(folder))
    assert loader_.source.paths.tolist() == [path for path, _ in reference.samples]
    assert loader_.source.labels.tolist() == reference.targets
    assert num_classes(cfg, images) == 3
    epoch(loader_)


def test_a_configurations_seed_and_sizes_reach_the_loader(small, folder):
    options = ("seed=6", "optimizer.batch_size=3", "data.num_workers=2")
    _, _, loader_ = opened(small, folder, *options)
    assert (loader_.seed, loader_.batch_size, loader_.num_threads) == (6, 3, 2)
    assert loader_.draws == replace(draws_of(VIEWS), in_passes=True)


def test_an_unlabelled_folder_and_a_fraction_of_it(small, folder):
    _, images, loader_ = opened(small, folder, "data.no_labels=true", "data.fraction=0.5")
    assert len(loader_.source.labels) == len(images) == COUNT // 2
    assert not loader_.source.labels.any()
    ((index, views, _),) = loader_
    assert [images.indices[i] for i in index] == shown(views[0]).tolist()


def write_table(path, folder, names=label_of):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "file"])
        for index in range(COUNT):
            writer.writerow([names(index), f"{folder.name}/class{index // 8}/{index:02}.png"])
    return path


@pytest.mark.parametrize("names", [label_of, lambda index: "cab"[index % 3]])
def test_a_table_lists_files_and_labels(names, small, folder):
    table = write_table(folder.parent / "table.csv", folder, names)
    cfg, images, loader_ = opened(small, table)
    expected = [label_of(i) if names is label_of else "abc".index(names(i)) for i in range(COUNT)]
    assert loader_.source.labels.tolist() == expected
    assert num_classes(cfg, images) == 3
    epoch(loader_)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,label\na.png,1\n", "no column 'file'"),
        ("file\na.png\n", "no column 'label'.*no_labels"),
        ("file,label\n", "lists no images"),
    ],
)
def test_an_unusable_table_is_refused(content, message, small, tmp_path):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        opened(small, tmp_path / "table.csv")


def write_shards(root, folder, num_shards=3):
    """Shards of images and labels, image ``i`` at position ``i``."""
    root.mkdir(exist_ok=True)
    for shard, indexes in enumerate(np.array_split(np.arange(COUNT), num_shards)):
        with tarfile.open(root / f"{shard}.tar", "w") as tar:
            for index in indexes:
                tar.add(folder / f"class{index // 8}" / f"{index:02}.png", f"{index:04}.png")
                label = str(label_of(index)).encode()
                info = tarfile.TarInfo(f"{index:04}.cls")
                info.size = len(label)
                tar.addfile(info, io.BytesIO(label))
    return root


def test_shards_give_every_image_once_with_its_label(small, folder, tmp_path):
    cfg, images, loader_ = opened(small, write_shards(tmp_path / "shards", folder))
    assert images.labels.tolist() == [label_of(index) for index in range(COUNT)]
    assert num_classes(cfg, images) == 3
    orders = [epoch(loader_) for _ in range(2)]
    assert all(len(set(order)) == 16 for order in orders) and orders[0] != orders[1]
    image, label = images[5]
    assert image.getpixel((0, 0)) == colour(5) and label == label_of(5)


def test_shards_are_mixed_in_groups(folder, tmp_path, monkeypatch):
    from mast_plugin.loading import shard

    monkeypatch.setattr(shard, "_WINDOW", 2)
    images = TarImages(list(write_shards(tmp_path / "s", folder, 6).glob("*.tar")), True)
    order = images.shuffled(np.random.default_rng(0))
    assert sorted(order) == list(range(COUNT))
    bounds = np.cumsum([len(part) for part in np.array_split(np.arange(COUNT), 6)])
    groups = np.searchsorted(bounds, order, side="right")
    assert len(set(groups[:7])) == 2  # the first group's two shards
    assert np.count_nonzero(np.diff(groups[:7])) > 1  # and not one after the other


def test_an_index_is_kept_and_made_anew_for_a_new_shard(folder, tmp_path):
    root = write_shards(tmp_path / "shards", folder, 1)
    first = read_index(root / "0.tar")
    index = root / "0.idx"
    version, line, *_ = index.read_text().splitlines()
    assert version == f"v1.2 {COUNT}"
    assert line.split(" ")[:1] + line.split(" ")[3:5] == ["png", "0000.png", "cls"]
    assert read_index(root / "0.tar") == first
    with tarfile.open(root / "0.tar", "a") as tar:
        tar.add(folder / "class0" / "00.png", "9999.png")
    os.utime(index, (0, 0))
    assert len(read_index(root / "0.tar")) == COUNT + 1


def test_the_index_agrees_with_dalis_own_tool(folder, tmp_path):
    script = Path(sys.executable).with_name("wds2idx")
    if not script.exists():
        pytest.skip("DALI came without its wds2idx")
    root = write_shards(tmp_path / "shards", folder, 1)
    ours = read_index(root / "0.tar")
    (root / "0.idx").unlink()
    subprocess.run([sys.executable, script, root / "0.tar", root / "0.idx"], check=True)
    theirs = read_index(root / "0.tar")
    assert [[(e.suffix, e.offset, e.size) for e in s] for s in theirs] == [
        [(e.suffix, e.offset, e.size) for e in s] for s in ours
    ]


def write_members(tar, names):
    content = material.image()
    with tarfile.open(tar, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1 if name.endswith(".cls") else len(content)
            archive.addfile(info, io.BytesIO(b"0" if name.endswith(".cls") else content))
    return tar


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.1.png", "a.2.png"], r"2 image files \(a.1.png, a.2.png\).* before the first dot"),
        (["a.mask.png", "a.jpg"], "2 image files"),
        (["a.png", "a.cls", "a.cls"], "2 label files"),
        ([], "holds no images"),
        ([".DS_Store"], "holds no images"),
    ],
)
def test_a_sample_has_one_image_and_one_label(names, message, tmp_path):
    """Or images were left out without a word."""
    with pytest.raises(DataError, match=message):
        TarImages([write_members(tmp_path / "0.tar", names)], labelled=True)


def test_what_a_mac_packs_beside_images_is_passed_over(tmp_path):
    names = ["./._a.png", "./._a.cls", "./a.png", "./a.cls", "__MACOSX/a.png", ".DS_Store"]
    tar = write_members(tmp_path / "0.tar", names)
    for _ in range(2):  # by the tar, then by its index
        images = TarImages([tar], labelled=True)
        assert len(images) == 1 and images.notes == [f"{tar} holds 1 image in 1 classes"]


def test_a_sample_without_label_is_named(folder, tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        tar.add(folder / "class0" / "00.png", "0000.png")
    assert len(TarImages([tmp_path / "0.tar"], labelled=False)) == 1
    with pytest.raises(DataError, match=r"0.tar has a sample \(0000.png\) without .cls"):
        TarImages([tmp_path / "0.tar"], labelled=True)


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["text", "truncated", "missing"])
def test_a_bad_file_is_named_in_training(fault, small, folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    bad = copy / "class1" / "10.png"
    _, _, loader_ = opened(small, copy)
    content = {"text": b"not an image", "truncated": bad.read_bytes()[:60]}
    bad.unlink() if fault == "missing" else bad.write_bytes(content[fault])
    with pytest.raises(DataError, match=r"class1/10.png cannot be read") as caught:
        for _ in range(2):
            list(loader_)
    assert "\n" not in str(caught.value)


def unended(path):
    """A PNG without its end, which Pillow reads and DALI does not."""
    path.write_bytes(path.read_bytes()[:-17])
    load_image(str(path))


def test_what_dali_alone_cannot_decode_is_found_by_the_check(small, folder, tmp_path, capsys):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    for name in ("class0/03.png", "class1/10.png"):
        unended(copy / name)
    training_images(resolve(small("mast", f"data.train_path={copy}")))
    with pytest.raises(DataError, match=r"03\.png cannot be decoded by DALI .*\(and 1 more\)"):
        opened(small, copy)
    assert capsys.readouterr().err.count("cannot be decoded by DALI (nvImageCodec") == 2


def test_what_dali_alone_cannot_decode_is_named_in_training(small, folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    # Batches of one: at one of several, DALI itself may crash (docs/dali.md).
    _, _, loader_ = opened(small, copy, "optimizer.batch_size=1")
    unended(copy / "class1" / "10.png")
    with pytest.raises(DataError, match=r"10\.png cannot be decoded by DALI") as caught:
        list(loader_)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device_reads", ["png", "tif"])
def test_views_show_what_pillow_reads(device_reads, small, tmp_path):
    """Sixteen bits and a lying photograph, through the whole loader."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(8):
        pixels = np.full((6, 12), 8000 * index + 1, np.uint16)
        image = Image.fromarray(pixels) if device_reads == "tif" else None
        image = image or Image.new("RGB", (12, 6), colour(index))
        (tmp_path / "set" / "ant").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "set" / "ant" / f"{index}.{device_reads}", exif=exif)
    _, images, loader_ = opened(small, tmp_path / "set", "data.bit_depth=16")
    ((index, (first, *_), _),) = loader_
    for position, number in enumerate(index.tolist()):
        image, _ = images[number]
        assert image.size == (6, 12)
        expected = np.asarray(image)[0, 0] / 255
        shown_there = first[position].mean((1, 2)).numpy()
        np.testing.assert_allclose(shown_there, expected, atol=1 / 255)


def test_a_bad_image_in_a_shard_is_named_by_the_check(small, folder, tmp_path, capsys):
    root = write_shards(tmp_path / "shards", folder, 1)
    for samples in (read_index(root / "0.tar")[3][0], read_index(root / "0.tar")[7][0]):
        with (root / "0.tar").open("r+b") as file:
            file.seek(samples.offset)
            file.write(b"x" * 40)
    with pytest.raises(DataError, match=r"0.tar \(bytes \d+ to \d+\).*\(and 1 more\)"):
        opened(small, root)
    assert capsys.readouterr().err.count("cannot be read as an image") == 2


def test_arrays_are_refused(small):
    with pytest.raises(ConfigurationError, match=r"cifar10's images are in one array"):
        opened(small, "nowhere", "data.dataset=cifar10")
    with pytest.raises(ConfigurationError, match="TensorDataset's images"):
        source_of(torch.utils.data.TensorDataset(torch.zeros(2)))


def test_devices_are_chosen_and_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto", "auto") == chosen_device("cpu", "auto") == "cpu"
    with pytest.raises(ConfigurationError, match="finds no GPU"):
        chosen_device("gpu", "auto")
    with pytest.raises(ConfigurationError, match="one of auto, cpu, gpu"):
        chosen_device("tpu", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert chosen_device("auto", "auto") == "gpu"
    assert chosen_device("auto", "cpu") == "cpu"


def test_a_missing_dali_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'mast-plugin\[dali\]'"):
        require_dali()


# --- through the engine ------------------------------------------------------------------------


@pytest.fixture
def train(image_folder, tmp_path):
    def run(name, *overrides):
        command = [
            *(sys.executable, str(MAIN), "--config-name", name),
            *("data.format=dali", "dali.device=cpu", f"data.train_path={image_folder}"),
            *("evaluation.dataset=null", "optimizer.batch_size=8", "data.num_workers=1"),
            *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=24"),
            *("enable_progress_bar=false", "log_every_n_steps=1", *overrides),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return torch.load(next(tmp_path.rglob("*.ckpt")), weights_only=False)

    return run


def test_mast_trains_as_many_steps_as_there_are_batches(train):
    assert train("mast.yaml", "max_epochs=2")["global_step"] == 2 * 3


def test_a_built_in_method_trains(train):
    assert train("vicreg.yaml", "max_epochs=1")["global_step"] == 3


def test_the_engine_says_which_epoch_it_is(host, files, monkeypatch):
    """Without it a resumed run would begin again with the first epoch's views."""
    asked = []
    loader_ = loader(files)
    monkeypatch.setattr(loader_, "set_epoch", asked.append)

    class Still(host.engine.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return self.layer(torch.ones(1, 1)).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = host.engine.Trainer(
        max_epochs=3, accelerator="cpu", devices=1, enable_model_summary=False, **quiet
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Still(), loader_)
    assert sorted(set(asked)) == [0, 1, 2]
    assert trainer.global_step == 3 * len(loader_)


def test_the_difference_is_that_of_what_the_views_show(tmp_path):
    """Images whose two colours say where a crop lies, through both interpreters."""
    rows, columns = np.mgrid[0:16, 0:32]
    picture = Image.fromarray(
        np.stack([15 * rows, 7 * columns, 0 * rows], axis=-1).astype(np.uint8)
    )
    (tmp_path / "ant").mkdir()
    for number in range(60):
        picture.save(tmp_path / "ant" / f"{number:02}.png")
    plan = Plan(8, (Augmentation("crop", 1.0, {"min_scale": 0.2}),), (0,) * 3, (1,) * 3)
    views = RoutedViews(plan, RoutePolicy(0.5, 0.5))
    source = Files(ImageFolder(str(tmp_path)).samples)
    ((_, of_dali, _),) = loader(source, batch_size=60, views=views)
    torch.manual_seed(0)
    of_pil = [torch.stack(each) for each in zip(*(views(picture) for _ in range(60)), strict=True)]
    for first, second, _, difference in (of_dali, of_pil):
        centres = [view.mean((2, 3)) * 255 / torch.tensor([15, 7, 1]) for view in (first, second)]
        moved = (centres[0] - centres[1])[:, :2] / torch.tensor([16, 32])
        slopes = (moved * difference[:, :2]).sum(0) / difference[:, :2].square().sum(0)
        torch.testing.assert_close(moved, slopes * difference[:, :2], rtol=0, atol=0.03)
        assert (slopes > 0.05).all()
        torch.testing.assert_close(slopes[0], slopes[1], rtol=0.1, atol=0)  # the same unit
