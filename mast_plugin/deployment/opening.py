"""A pretrained network for programs of one's own."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from mast_plugin.check import LOADING_OPTIONS
from mast_plugin.core.head import SubspaceHead
from mast_plugin.deployment.subspace import BackboneName, SubspaceFeatures, metadata, read
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.network.opening import Network, open_network
from mast_plugin.setting.backbone import stem_of_weights


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
            .pt, .safetensors), or what :meth:`SubspaceFeatures.save` wrote.
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
    path, given = Path(checkpoint), {"size": size, "mean": mean, "std": std}
    if (noted := metadata(path)) is not None:
        model, transform = read(path, noted)
        return model.backbone, _changed(transform, given)
    network = open_network(
        path,
        backbone_name=name,
        backbone_kwargs=kwargs,
        config=None if config is None else Path(config),
        host=False,
    )
    return network.backbone, _changed(_transform_of(network), given)


def load_model(
    checkpoint: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> tuple[SubspaceFeatures, ImageTransform]:
    """Load a pretrained backbone with its projector and masks.

    Of MAST, solo-learn and Lightning are imported no more than by :func:`load_backbone`; the
    projectors of other methods are built by solo-learn.

    Args:
        checkpoint: a run's .ckpt, or what :meth:`SubspaceFeatures.save` wrote.
        config: the run's args.json, where it is not beside the checkpoint.
        size: as of :func:`load_backbone`, like ``mean`` and ``std``.
        mean: likewise.
        std: likewise.

    Returns:
        The network on the CPU, in evaluation mode, and the transform of its view. A network that
        has no masks, or all of them one, has no ``types``.

    Raises:
        ConfigurationError: as :func:`load_backbone`, or there is no projector.
    """
    path, given = Path(checkpoint), {"size": size, "mean": mean, "std": std}
    if (noted := metadata(path)) is not None:
        model, transform = read(path, noted)
        return model, _changed(transform, given)
    network = open_network(path, config=None if config is None else Path(config), host=False)
    if network.projector is None and network.method != "mast":
        network = open_network(path, config=None if config is None else Path(config))
    if network.projector is None:
        raise ConfigurationError(
            f"{path} holds no projector that can be built: load its backbone by load_backbone"
        )
    return subspaces_of(network), _changed(_transform_of(network), given)


def subspaces_of(network: Network) -> SubspaceFeatures:
    """Backbone, projector and masks of a network that has a projector."""
    projector = network.projector
    assert projector is not None
    if isinstance(projector, SubspaceHead):
        projector = projector.projector
    masks, types = network.masks, network.types or ()
    if masks is None or bool((masks == 1).all()):
        masks, types = None, ()
    made_as = made_as_of(network)
    return SubspaceFeatures(network.backbone, projector, masks, types, made_as=made_as).eval()


def made_as_of(network: Network) -> BackboneName:
    """How a checkpoint's backbone is built again."""
    section = (network.cfg or {}).get("backbone") or {}
    given = {k: v for k, v in (section.get("kwargs") or {}).items() if k not in LOADING_OPTIONS}
    stem = stem_of_weights(network.backbone.state_dict()) or "imagenet"
    return BackboneName(network.backbone_name, given, stem)


def _transform_of(network: Network) -> ImageTransform:
    return ImageTransform.of(ViewStatistics.of(network, {}))


def _changed(transform: ImageTransform, given: Mapping[str, Any]) -> ImageTransform:
    """The transform with what was given in place of its own."""
    changed: dict[str, Any] = {
        key: tuple(value) if isinstance(value, Sequence) else value
        for key, value in given.items()
        if value is not None
    }
    return replace(transform, **changed)
