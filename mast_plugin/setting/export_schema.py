"""Every option of exporting a network, with its default, its range, and what it does."""

from dataclasses import dataclass
from typing import Any

from mast_plugin.check import FLAG, NULL, PATH, one_of
from mast_plugin.option import MISSING, option, section
from mast_plugin.setting.embedding_schema import TYPES, Opened
from mast_plugin.setting.evaluation_schema import BareBackbone, View

FORMATS = ("torchvision", "timm", "safetensors", "onnx")


@dataclass(frozen=True)
class Export(Opened):
    """A pretrained network for other programs."""

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
    invariant_to: Any = option([], TYPES, "of onnx: as of main_embed.py")
    free_of: Any = option([], TYPES, "of onnx: as of main_embed.py")
    backbone: Any = section(BareBackbone, "for bare weights")
    view: Any = section(
        View, "by default the run's own; for bare weights 224 px, ImageNet's statistics"
    )
    overwrite: Any = option(False, FLAG, "replace an output that is there")
