"""What the loss refuses to compute from; values are not looked at, or a GPU would have to wait."""

import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError


def check_tensors(
    z1: Tensor, z2: Tensor, masks: Tensor, route: Tensor, log_variance: Tensor | None
) -> None:
    """Refuse shapes and dtypes of the embeddings, the masks, the route and the log-variances."""
    if z1.ndim != 2 or z1.shape[0] < 2 or z1.shape[1] < 1:
        raise ConfigurationError(f"z1 must be (N >= 2, D >= 1), got {tuple(z1.shape)}")
    num_images, num_dims = z1.shape
    if masks.ndim != 2 or masks.shape[0] < 1:
        raise ConfigurationError(f"masks must be (K >= 1, D), got {tuple(masks.shape)}")
    num_types = masks.shape[0]
    expected = {
        "z2": (z2, (num_images, num_dims)),
        "masks": (masks, (num_types, num_dims)),
        "route": (route, (num_images, num_types)),
        "log_variance": (log_variance, (num_images, num_types)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tensor.shape != shape:
            raise ConfigurationError(f"{name} must be {shape}, got {tuple(tensor.shape)}")
    if route.dtype != torch.bool:
        raise ConfigurationError(f"route must be bool, got {route.dtype}")


def check_change(
    told: Tensor | None, change: Tensor | None, change_types: Tensor | None, route: Tensor
) -> None:
    """Refuse a change that is given in part, or whose shapes do not fit."""
    given = (told, change, change_types)
    if told is None or change is None or change_types is None:
        if any(each is not None for each in given):
            raise ConfigurationError("told, change and change_types go together: give all or none")
        return
    if change_types.ndim != 1 or change_types.dtype != torch.int64 or not len(change_types):
        shape = tuple(change_types.shape)
        raise ConfigurationError(
            f"change_types must be (P >= 1,) int64, got {shape} {change_types.dtype}"
        )
    shape = (len(route), len(change_types))
    for name, tensor in (("told", told), ("change", change)):
        if tensor.shape != shape:
            raise ConfigurationError(f"{name} must be {shape}, got {tuple(tensor.shape)}")
