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


def check_difference(
    predicted: Tensor | None,
    difference: Tensor | None,
    difference_types: Tensor | None,
    route: Tensor,
) -> None:
    """Refuse a difference that is given in part, or whose shapes do not fit."""
    given = (predicted, difference, difference_types)
    if predicted is None or difference is None or difference_types is None:
        if any(each is not None for each in given):
            raise ConfigurationError(
                "predicted, difference and difference_types go together: give all or none"
            )
        return
    if (
        difference_types.ndim != 1
        or difference_types.dtype != torch.int64
        or not len(difference_types)
    ):
        shape = tuple(difference_types.shape)
        raise ConfigurationError(
            f"difference_types must be (P >= 1,) int64, got {shape} {difference_types.dtype}"
        )
    shape = (len(route), len(difference_types))
    for name, tensor in (("predicted", predicted), ("difference", difference)):
        if tensor.shape != shape:
            raise ConfigurationError(f"{name} must be {shape}, got {tuple(tensor.shape)}")
