"""One process of test_distributed.py: head and loss on its part of a batch."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from mast_plugin.core.distributed import gather, require_equal_batches
from mast_plugin.core.head import SubspaceHead
from mast_plugin.core.loss import mast_loss
from mast_plugin.errors import DataError

PER_RANK, FEATURES, TYPES = 6, 10, 5
IDLE = 3  # this type is active on no pair of the first process
DIFFERENCE_TYPES = (0, 0, 2, IDLE)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def make_head() -> SubspaceHead:
    torch.manual_seed(0)
    head = SubspaceHead(
        features_dim=FEATURES,
        hidden_dim=8,
        embedding_dim=12,
        num_types=TYPES,
        uncertainty=True,
        difference_types=DIFFERENCE_TYPES,
    )
    head.projector = nn.Linear(FEATURES, 12)  # batch norm would need its own synchronisation
    for parameter in head.uncertainty_parameters:
        nn.init.normal_(parameter, std=0.3)
    return head.double()


def make_batch(world: int) -> Batch:
    """Every process has other data, of another scale, under other routes."""
    generator = torch.Generator().manual_seed(1)
    shape = (2, world, PER_RANK, FEATURES)
    features = torch.randn(shape, generator=generator, dtype=torch.float64)
    scales = torch.arange(1, world + 1, dtype=torch.float64).view(-1, 1, 1)
    f1, f2 = (features * scales + scales / 2).flatten(1, 2).unbind()
    chances = torch.linspace(0.3, 0.9, world).view(-1, 1, 1)
    route = torch.rand((world, PER_RANK, TYPES), generator=generator) < chances
    route[..., 0] |= ~route.any(-1)
    route[0, :, IDLE] = False
    shape = (world, PER_RANK, len(DIFFERENCE_TYPES))
    difference = torch.randn(shape, generator=generator, dtype=torch.float64)
    return f1, f2, route.flatten(0, 1), difference.flatten(0, 1)


def part(batch: Batch, rank: int) -> Batch:
    own = slice(rank * PER_RANK, (rank + 1) * PER_RANK)
    f1, f2, route, difference = (tensor[own] for tensor in batch)
    return f1, f2, route, difference


def loss_of(
    head: SubspaceHead, f1: Tensor, f2: Tensor, route: Tensor, difference: Tensor
) -> Tensor:
    route = gather(route)
    z1, z2 = gather(head(f1)), gather(head(f2))
    return mast_loss(
        z1,
        z2,
        masks=head.masks,
        route=route,
        log_variance=gather(head.log_variance(f1, f2)),
        predicted=head.predicted_difference(z1, z2, route),
        difference=gather(difference),
        difference_types=head.difference_types,
    ).loss


def gradients(head: SubspaceHead) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in head.named_parameters()}


def averaged(gradients: dict[str, Tensor], world: int) -> dict[str, Tensor]:
    """What DDP does between the backward pass and the optimiser."""
    for gradient in gradients.values():
        torch.distributed.all_reduce(gradient)
        gradient /= world
    return gradients


def refusal(num_images: int) -> str:
    try:
        require_equal_batches(num_images, torch.device("cpu"))
    except DataError as error:
        return str(error)
    return ""


def main(rank: int, world: int, folder: Path) -> None:
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    head = make_head()
    loss = loss_of(head, *part(make_batch(world), rank))
    loss.backward()
    result = {
        "loss": loss.detach(),
        "gradients": averaged(gradients(head), world),
        "equal": refusal(PER_RANK),
        "uneven": refusal(PER_RANK - (rank == world - 1)),
    }
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
