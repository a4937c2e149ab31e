"""Two processes with different data compute the loss of the joined batch."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from mast_plugin.distributed import gather
from mast_plugin.head import SubspaceHead
from mast_plugin.loss import mast_loss

WORLD, PER_RANK, FEATURES, TYPES = 2, 6, 10, 3


def make_head() -> SubspaceHead:
    torch.manual_seed(0)
    head = SubspaceHead(
        features_dim=FEATURES, hidden_dim=8, embedding_dim=12, num_types=TYPES, uncertainty=True
    )
    head.projector = nn.Linear(FEATURES, 12)  # batch norm would need its own synchronisation
    for parameter in head.uncertainty_parameters:
        nn.init.normal_(parameter, std=0.3)
    return head.double()


def make_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    f1, f2 = torch.randn(
        2, WORLD * PER_RANK, FEATURES, generator=generator, dtype=torch.float64
    ).unbind()
    route = torch.rand(WORLD * PER_RANK, TYPES, generator=generator) < 0.5
    route[:, 0] |= ~route.any(1)
    return f1, f2, route


def loss_of(head: nn.Module, f1: torch.Tensor, f2: torch.Tensor, route: torch.Tensor):
    return mast_loss(
        gather(head(f1)),
        gather(head(f2)),
        masks=head.masks,
        route=gather(route),
        log_variance=gather(head.log_variance(f1, f2)),
    ).loss


def work(rank: int, folder: Path) -> None:
    """One process: its part of the batch, and the averaging of gradients that DDP does."""
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    head = make_head()
    own = slice(rank * PER_RANK, (rank + 1) * PER_RANK)
    loss = loss_of(head, *(tensor[own] for tensor in make_batch()))
    loss.backward()
    for parameter in head.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= WORLD
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    torch.save({"loss": loss.detach(), "gradients": gradients}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_loss_and_every_gradient_equal_one_process_on_the_joined_batch(tmp_path):
    commands = [[sys.executable, __file__, str(rank), str(tmp_path)] for rank in range(WORLD)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), errors
    head = make_head()
    expected = loss_of(head, *make_batch())
    expected.backward()
    for rank in range(WORLD):
        result = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(result["loss"], expected.detach(), rtol=1e-10, atol=0)
        for name, parameter in head.named_parameters():
            torch.testing.assert_close(result["gradients"][name], parameter.grad, msg=name)


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
