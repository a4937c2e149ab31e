"""What crosses processes: a batch joined over all of them, and the promise that makes it possible.

Source: that VICReg's statistics are those of the joined batch is its official code's choice (Bardes
et al., arXiv 2105.04906); how gradients come back is this project's, see docs/scaling.md.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mast_plugin.errors import DataError


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(local: Tensor) -> Tensor:
    """Join the batches of all processes along the first dimension, in order of rank.

    Every process must then compute the same from the joined batch. So each knows what all of them
    ask of its own part, world size times what it asks itself, and the backward pass exchanges
    nothing; as DDP averages the parameters' gradients, they are those of one process on the joined
    batch.

    Args:
        local: (N, ...) of this process; N must be the same on all, which is not checked here:
            :func:`require_equal_batches` does it once for all that is gathered of a batch.

    Returns:
        (world size x N, ...), of the same dtype; ``local`` itself where one process trains alone.

    Differs: ``torch.distributed.nn.functional.all_gather`` sums over processes in the backward
    pass, which is right for any loss and as expensive as the forward pass.
    """
    if world_size() == 1:
        return local
    if local.dtype == torch.bool:
        return gather(local.to(torch.uint8)).bool()
    joined: Tensor = _Gather.apply(local)  # type: ignore[no-untyped-call]
    return joined


def require_equal_batches(num_images: int, device: torch.device) -> None:
    """Refuse batches of different sizes before anything is gathered from them.

    A collective of tensors that differ in shape hangs, or returns garbage. Every process must call
    this at the same point of its step. On a GPU the host waits for what is queued there.

    Args:
        num_images: N of this process's batch.
        device: where the backend exchanges tensors.

    Raises:
        DataError: N differs; the same error on every process, so that none is left waiting.
    """
    if world_size() == 1:
        return
    extremes = torch.tensor([num_images, -num_images], device=device)
    dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
    largest, negated_smallest = extremes.tolist()
    if largest != -negated_smallest:
        raise DataError(
            f"the processes' batches hold from {-negated_smallest} to {largest} images, but must be"
            " of one size: give the training loader drop_last=True and all processes one batch size"
        )


class _Gather(torch.autograd.Function):
    """All-gather whose backward pass takes this process's part, world size times."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        joined = local.new_empty((world_size() * len(local), *local.shape[1:]))
        dist.all_gather_into_tensor(joined, local.contiguous())
        return joined

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.chunk(world_size())[dist.get_rank()] * world_size()
