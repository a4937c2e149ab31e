"""The one collective that the method needs: a batch joined over all processes."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(local: Tensor) -> Tensor:
    """Join the batches of all processes along the first dimension, in order of rank.

    Every process then computes the same loss of the joined batch. The backward pass sums what the
    processes ask of each batch; as they all ask the same and DDP averages parameter gradients, the
    gradients are those of one process on the joined batch.

    Args:
        local: (N, ...) of this process; N must be the same on all.

    Returns:
        (world size x N, ...); ``local`` itself where one process trains alone.
    """
    if world_size() == 1:
        return local
    if local.dtype == torch.bool:
        return gather(local.to(torch.uint8)).bool()
    if not local.requires_grad:
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather(local.contiguous()))  # type: ignore[no-untyped-call]
