"""Every option of an evaluation and of a comparison, with its default, its range, what it does."""

from dataclasses import dataclass
from typing import Any

from mast_plugin.check import (
    FILE_NAME,
    FLAG,
    NULL,
    PATH,
    SECTION,
    TEXT,
    list_of,
    number,
    one_of,
    whole,
)
from mast_plugin.option import MISSING, option, section
from mast_plugin.setting.pretraining_schema import COUNT, SEED

_NAMES = list_of(TEXT, "[a, b]")
_SEVERAL = _NAMES | TEXT
_DEVICE = one_of("auto", "cpu", "cuda")
_WORKERS = whole(0, 1024)
_LABEL_FREE = ["knn", "label-free", "invariance"]


@dataclass(frozen=True)
class Epochs:
    """Of the protocols that train on images."""

    linear: Any = option(100, COUNT, key="lightning-linear")
    finetune: Any = option(20, COUNT)


@dataclass(frozen=True)
class BareBackbone:
    """The network that bare weights belong to."""

    name: Any = option(None, TEXT | NULL, "as torchvision, timm or solo-learn call it")
    kwargs: Any = option({}, SECTION, "of its builder")


@dataclass(frozen=True)
class View:
    """The one view of each image."""

    crop_size: Any = option(None, whole(1, 4096) | NULL, "side in pixels")
    mean: Any = option(None, list_of(number(0, 1), "[0.5, 0.5, 0.5]", length=3) | NULL)
    std: Any = option(None, list_of(number(1e-6, 1), "[0.2, 0.2, 0.2]", length=3) | NULL)
    exif_orientation: Any = option(
        None, FLAG | NULL, "turn photographs as their EXIF tag says: true, false, or as the run did"
    )
    bit_depth: Any = option(
        None,
        whole(8, 32) | NULL,
        "of images with more than 8 bits a channel; data.bit_depth of the run",
    )


@dataclass(frozen=True)
class Evaluation:
    """What a backbone is worth on labelled images."""

    checkpoint: Any = option(
        MISSING,
        PATH,
        ".ckpt of any method of either solo-learn, or weights (.pth, .safetensors)",
    )
    config: Any = option(
        None, PATH | NULL, "the run's args.json, where it is not beside the checkpoint"
    )
    dataset: Any = option(
        None,
        PATH | NULL,
        "folder with labels.csv, or with train/ and val/ of class folders; by default the one that "
        "the run itself was scored on",
    )
    tasks: Any = option(
        None, _NAMES | NULL, "columns of labels.csv, such as [digit,hue]; all of them by default"
    )
    protocols: Any = option(
        ["knn", "linear", "few-shot", "label-free", "invariance"],
        _SEVERAL,
        "what is measured, or all; further: lightning-linear, finetune-1%, finetune-10%",
    )
    subspaces: Any = option(
        _LABEL_FREE, _SEVERAL, "what is measured of the embedding under each mask, too"
    )
    combinations: Any = option([], _NAMES, "and under several at once, such as [crop+hue]")
    epochs: Any = section(Epochs, "of the protocols that train on images, for every task")
    unmirrored: Any = option(
        [], _NAMES, "tasks for which left and right matter: never mirrored in training"
    )
    backbone: Any = section(BareBackbone, "for bare weights")
    view: Any = section(
        View, "by default the run's own; for bare weights 224 px, ImageNet's statistics"
    )
    output: Any = option(
        None, PATH | NULL, "folder; by default <checkpoint without ending>-evaluation"
    )
    cache: Any = option(
        None,
        PATH | NULL | one_of(False),
        "folder of features; by default <output>/features; false keeps none",
    )
    report: Any = option(True, FLAG, "write report.html")
    overwrite: Any = option(
        False, FLAG, "evaluate again what was evaluated with exactly this configuration"
    )
    seed: Any = option(0, SEED, "of splits and of what is trained")
    batch_size: Any = option(256, whole(1, 1 << 20), "images at once; it changes no number")
    num_workers: Any = option(2, _WORKERS, "loading processes")
    device: Any = option("auto", _DEVICE, "auto, cpu, cuda")


@dataclass(frozen=True)
class Comparison:
    """Methods under one protocol. What a name in `methods` stands for is in variants.yaml."""

    methods: Any = option(
        ["simclr", "vicreg", "mast"],
        list_of(FILE_NAME, "[a, b]"),
        "names from variants, or built-in methods, which take the recipe of vicreg",
    )
    seeds: Any = option([0], list_of(SEED, "[0, 1]"), "of the pretraining")
    ours: Any = option("mast", TEXT, "whose difference to the best of the others is shown")
    recipes: Any = option(
        None,
        PATH | NULL,
        "folder of recipes, such as scripts/pretrain/cifar; null: the embedded data",
    )
    overrides: Any = option(
        None,
        SECTION | NULL,
        "of every recipe, such as {max_epochs: 50, data.train_path: images}",
    )
    search: Any = option(
        None,
        SECTION | NULL,
        "of every method, on a validation split of the training images with the first seed, such "
        "as {optimizer.lr: [0.001, 0.004]}",
    )
    dataset: Any = option(
        None, PATH | NULL, "as of main_evaluate.py; by default the recipes' evaluation.dataset"
    )
    tasks: Any = option(None, _NAMES | NULL, "columns of labels.csv; all of them by default")
    protocols: Any = option(
        ["knn", "linear", "label-free", "invariance"], _NAMES, "what is measured"
    )
    subspaces: Any = option(_LABEL_FREE, _SEVERAL, "as of main_evaluate.py")
    metric: Any = option("linear", TEXT, "the protocol that the table shows")
    output: Any = option(
        "comparison", PATH, "runs/, evaluations, comparison.json, comparison.csv, report.html"
    )
    report: Any = option(True, FLAG, "write report.html")
    evaluation_seed: Any = option(0, SEED, "of splits and of what is trained on them")
    num_workers: Any = option(2, _WORKERS, "loading processes")
    device: Any = option("auto", _DEVICE, "auto, cpu, cuda")
    variants: Any = option({}, SECTION, "what methods may name")
