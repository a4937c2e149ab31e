"""Which vectors a command is asked for, and the network that makes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mast_plugin.deployment.opening import load_backbone, load_model
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError

_CHOICES = ("invariant_to", "free_of")


def with_representation(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in which the representation is chosen, and types are listed.

    Raises:
        ConfigurationError: two options contradict each other.
    """
    types = {
        key: [options[key]] if isinstance(options[key], str) else options[key] for key in _CHOICES
    }
    chosen = next((key for key in _CHOICES if types[key]), None)
    wanted = options["representation"] or ("subspace" if chosen else "backbone")
    if chosen and wanted != "subspace":
        raise ConfigurationError(
            f"{chosen} chooses a subspace, and representation={wanted} is none: leave one out"
        )
    if wanted == "subspace" and not chosen:
        raise ConfigurationError(
            "representation=subspace does not say which: give invariant_to=[...] or free_of=[...]"
        )
    if wanted != "backbone" and options["backbone"]["name"] is not None:
        raise ConfigurationError(
            f"backbone.name loads a backbone alone, which has no {wanted}: leave one out"
        )
    return {**options, **types, "representation": wanted}


def load_representation(
    options: Mapping[str, Any],
) -> tuple[nn.Module, ImageTransform, dict[str, Any]]:
    """Load what makes the representation.

    Args:
        options: of :func:`with_representation`.

    Returns:
        The network, its transform, and the keywords that choose a subspace.

    Raises:
        ConfigurationError: the checkpoint does not have it.
    """
    view, bare = options["view"], options["backbone"]
    given = {"size": view["crop_size"], "mean": view["mean"], "std": view["std"]}
    given["config"] = options["config"]
    stated = {key: view[key] for key in ("exif_orientation", "bit_depth") if view[key] is not None}
    if options["representation"] == "backbone":
        name, kwargs = bare["name"], bare["kwargs"]
        backbone, transform = load_backbone(
            options["checkpoint"], name=name, kwargs=kwargs, **given
        )
        return backbone, replace(transform, **stated), {}
    model, transform = load_model(options["checkpoint"], **given)
    chosen: dict[str, Any] = {}
    if options["representation"] == "subspace":
        chosen = {key: options[key] for key in _CHOICES}
        model.weights(**chosen)  # refused before anything else is read
    return model, replace(transform, **stated), chosen
