"""What travels from a loader to the loss: two views of an image, and how they were made."""

from typing import NamedTuple

from torch import Tensor


class RoutedPair(NamedTuple):
    """Two views of one image, or of each of N images that a loader has collated.

    Torch's collation, its pinned memory, its workers and both engines' transfers to a device keep
    a named tuple what it is.

    Attributes:
        first: **(3, crop_size, crop_size)**, float32, normalised; of a batch (N, 3, ...).
        second: like ``first``.
        route: **(K,)**, bool: which augmentation types are active, in the order of the plan's
            ``types``; of a batch (N, K).
        difference: **(P,)**, float32, see :mod:`mast_plugin.views.difference`; of a batch (N, P).
    """

    first: Tensor
    second: Tensor
    route: Tensor
    difference: Tensor
