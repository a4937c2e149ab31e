"""Every option of exporting a network, with its default, its range, and what it does."""

from dataclasses import dataclass
from typing import Any

from mast_plugin.check import FLAG, NULL, PATH, TEXT, list_of, one_of
from mast_plugin.option import MISSING, option, section
from mast_plugin.setting.evaluation_schema import BareBackbone, View

FORMATS = ("torchvision", "timm", "safetensors", "onnx")
_TYPES = list_of(TEXT, "[crop, color_jitter]") | TEXT


@dataclass(frozen=True)
class Export:
    """A pretrained network for other programs."""

    checkpoint: Any = option(
        MISSING,
        PATH,
        ".ckpt of any method of either solo-learn, weights (.pth, .safetensors), or a file that "
        "SubspaceFeatures.save wrote",
    )
    config: Any = option(
        None, PATH | NULL, "the run's args.json, where it is not beside the checkpoint"
    )
    format: Any = option(
        MISSING,
        one_of(*FORMATS),
        "torchvision: a state dict of its network; timm: a folder for local-dir; safetensors: "
        "backbone, projector and masks for load_model; onnx: a graph with a dynamic batch",
    )
    output: Any = option(
        None,
        PATH | NULL,
        "file, or for timm folder; by default backbone.pth, timm, model.safetensors or model.onnx",
    )
    representation: Any = option(
        None,
        one_of("backbone", "embedding", "subspace") | NULL,
        "of onnx: backbone, embedding or subspace; by default as of main_embed.py",
    )
    invariant_to: Any = option([], _TYPES, "of onnx: as of main_embed.py")
    free_of: Any = option([], _TYPES, "of onnx: as of main_embed.py")
    backbone: Any = section(BareBackbone, "for bare weights")
    view: Any = section(
        View, "by default the run's own; for bare weights 224 px, ImageNet's statistics"
    )
    overwrite: Any = option(False, FLAG, "replace an output that is there")
