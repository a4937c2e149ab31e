"""A pretrained network for programs of one's own."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.network.opening import open_network


def load_backbone(
    checkpoint: str | os.PathLike[str],
    *,
    name: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    config: str | os.PathLike[str] | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[nn.Module, ImageTransform]:
    """Load a pretrained backbone as a plain torch module.

    solo-learn and Lightning are not imported, unless only solo-learn has the network (PoolFormer,
    WideResNet, the transformers of MAE and MoCo v3).

    Args:
        checkpoint: a run's .ckpt, or weights of a torchvision, timm or solo-learn network (.pth,
            .pt, .safetensors).
        name: the network that bare weights belong to, such as ``resnet50``.
        kwargs: of its builder.
        config: the run's args.json, where it is not beside the checkpoint.
        size: side of the view in pixels; by default the run's own, for bare weights 224.
        mean: per channel (RGB), of values in [0, 1]; by default the run's own, or ImageNet's.
        std: likewise.

    Returns:
        The backbone, images (N, 3, H, W) to features (N, F), on the CPU, in evaluation mode; and
        the transform of its view.

    Raises:
        ConfigurationError: the file cannot be read, does not say which network it holds, or does
            not fit it.
    """
    network = open_network(
        Path(checkpoint),
        backbone_name=name,
        backbone_kwargs=kwargs,
        config=None if config is None else Path(config),
        host=False,
    )
    view = ViewStatistics.of(network, {"crop_size": size, "mean": mean, "std": std})
    return network.backbone, ImageTransform.of(view)
