"""Every option of embedding images, with its default, its range, and what it does."""

from dataclasses import dataclass
from typing import Any

from mast_plugin.check import FLAG, NULL, PATH, TEXT, list_of, one_of, whole
from mast_plugin.option import MISSING, option, section
from mast_plugin.setting.evaluation_schema import BareBackbone, View

TYPES = list_of(TEXT, "[crop, color_jitter]") | TEXT


@dataclass(frozen=True)
class Opened:
    """The checkpoint that a network is opened from."""

    checkpoint: Any = option(
        MISSING,
        PATH,
        ".ckpt of any method of either solo-learn, weights (.pth, .safetensors), or a file that "
        "SubspaceFeatures.save wrote",
    )
    config: Any = option(
        None, PATH | NULL, "the run's args.json, where it is not beside the checkpoint"
    )


@dataclass(frozen=True)
class Embedding(Opened):
    """A vector of each image."""

    data: Any = option(
        MISSING,
        PATH,
        "folder of images at any depth, .csv table with a column file, .tar shard or folder of "
        "them, or one image",
    )
    output: Any = option(
        "features.npz",
        PATH,
        "file that is written: .npz, .npy, .csv, .parquet or .safetensors; the kinds .npy and "
        ".safetensors have a .csv beside them that says what each row is of",
    )
    representation: Any = option(
        None,
        one_of("backbone", "embedding", "subspace") | NULL,
        "backbone, embedding or subspace; by default subspace where one is chosen, else backbone",
    )
    invariant_to: Any = option(
        [], TYPES, "augmentation types: the embedding under the product of their masks"
    )
    free_of: Any = option(
        [], TYPES, "types: what their masks leave out, where they can be told; the opposite"
    )
    unreadable: Any = option(
        "refuse",
        one_of("refuse", "list"),
        "images that cannot be read: refuse, or list them in a column error, with a row of NaN",
    )
    backbone: Any = section(BareBackbone, "for bare weights")
    view: Any = section(
        View, "by default the run's own; for bare weights 224 px, ImageNet's statistics"
    )
    precision: Any = option(
        "float32",
        one_of("float32", "bfloat16", "float16"),
        "of the network; the two short ones by autocast",
    )
    overwrite: Any = option(False, FLAG, "replace an output that is there")
    batch_size: Any = option(256, whole(1, 1 << 20), "images at once")
    num_workers: Any = option(2, whole(0, 1024), "loading processes")
    device: Any = option("auto", one_of("auto", "cpu", "cuda"), "auto, cpu, cuda")
