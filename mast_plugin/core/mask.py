"""How the masks start: drawn at random, or with a block of dimensions of its own for each type.

K augmentation types, D embedding dimensions. Source: a learnable mask per type is the paper's
(arXiv 2303.03679); how masks start is this project's choice, see docs/method.md.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError

MaskMode = Literal["learned", "fixed", "none"]
MaskStart = Literal["random", "blocks"]

FIXED_SPREAD = 8.0  # logits this wide make nearly binary masks
BLOCK_LEVEL = 0.05  # a mask inside its type's block: low, and still able to learn


def initial_logits(
    shape: tuple[int, int], masks: MaskMode, start: MaskStart, share: float, spread: float
) -> Tensor:
    """Logits of the masks before the first step.

    Args:
        shape: (K, D).
        masks: "none" makes every mask one; "fixed" ones that are random are nearly binary.
        start: "random" draws the logits normally; "blocks" see :func:`block_masks`.
        share: rho, in (0, 1): the mean of a mask, of random ones its expectation.
        spread: standard deviation of random logits, >= 0.

    Returns:
        (K, D), whose sigmoid are the masks.

    Raises:
        ConfigurationError: an option is out of its range, or the blocks do not fit.
    """
    if masks == "none":
        return torch.full(shape, math.inf)  # whose sigmoid is exactly one
    if not 0 < share < 1:
        raise ConfigurationError(f"subspace_share must be in (0, 1), got {share}")
    if not 0 <= spread < math.inf:
        raise ConfigurationError(f"mask_spread must be finite and >= 0, got {spread}")
    if masks not in ("learned", "fixed"):
        raise ConfigurationError(f'masks must be "learned", "fixed" or "none", got {masks!r}')
    if start == "blocks":
        return torch.logit(block_masks(*shape, share)).float()
    if start != "random":
        raise ConfigurationError(f'mask_start must be "random" or "blocks", got {start!r}')
    spread = spread if masks == "learned" else FIXED_SPREAD
    return _logit_centre(share, spread) + spread * torch.randn(shape)


def block_masks(num_types: int, num_dims: int, share: float) -> Tensor:
    """Masks that each leave a block of dimensions of their own, and share the rest.

    Type k leaves the dimensions from k B on, with B the whole part of (1 - rho) D: there its mask
    is ``BLOCK_LEVEL``. Elsewhere it has the one level that brings its mean to rho.

    Args:
        num_types: K.
        num_dims: D.
        share: rho, in (0, 1).

    Returns:
        (K, D), float64, in (0, 1).

    Raises:
        ConfigurationError: a block would be empty, or the blocks need more than D dimensions.
    """
    block = math.floor((1 - share) * num_dims + 1e-9)
    if not 1 <= block <= num_dims // num_types:
        raise ConfigurationError(
            f"mask_start=blocks cannot give {num_types} types a block of {1 - share:.3g} of the "
            f"{num_dims} dimensions each: choose subspace_share in "
            f"[{1 - 1 / num_types:.3g}, {1 - 1 / num_dims:.3g}]"
        )
    outside = (share * num_dims - BLOCK_LEVEL * block) / (num_dims - block)
    masks = torch.full((num_types, num_dims), outside, dtype=torch.float64)
    for kind in range(num_types):
        masks[kind, kind * block : (kind + 1) * block] = BLOCK_LEVEL
    return masks


def _logit_centre(share: float, spread: float) -> float:
    """Find the mean of normal logits whose sigmoid has the mean ``share``, by bisection."""
    noise = spread * torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)
    reach = 50 + 10 * spread
    low, high = -reach, reach
    for _ in range(60):
        centre = (low + high) / 2
        if torch.sigmoid(centre + noise).mean() < share:
            low = centre
        else:
            high = centre
    return centre
