"""A training step in one process and in two, each on one thread: ratios from one run.

Every process takes whole steps on pairs of its own: the method's ``training_step``, the backward
pass and the optimiser, in two processes through torch's DistributedDataParallel over gloo. One
process and two take turns, so that a change of the machine's speed falls on both; perfect scaling
would be two. "MAST, checked" exchanges the batches' sizes at every step, as for a loader that is
not this project's.

    python benchmarks/scaling.py
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from timed_method import built
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mast_plugin import register
from mast_plugin.registration import register_resolvers
from mast_plugin.views.pair import RoutedPair

_ROWS = ("VICReg", "MAST", "MAST, checked")
_WARM_UP = 2  # rounds that are not counted


class Step(nn.Module):
    """Sends the wrapper's forward to a method's training step, as Lightning does."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: list[Any]) -> Tensor:
        """Return the loss of a batch in the middle of an epoch."""
        loss: Tensor = self.method.training_step(batch, 1)
        return loss


def stepper(row: str, world: int, arguments: argparse.Namespace) -> Callable[[], float]:
    """Return a function that takes one training step and returns its seconds."""
    name = "vicreg" if row == "VICReg" else "mast"
    entry = "elsewhere" if row == "MAST, checked" else None
    method = built(name, width=arguments.width, size=arguments.size, entry=entry)
    optimizer = method.configure_optimizers()
    step: nn.Module = Step(method)
    if world > 1:
        step = DistributedDataParallel(step)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    views = [torch.randn(shape) for _ in range(2)]
    if row != "VICReg":
        route = method.routes.draw(arguments.batch, len(method.plan.types))
        difference = torch.randn(arguments.batch, len(method.head.difference_types))
        views = RoutedPair(*views, route, difference)
    batch = [torch.arange(arguments.batch), views, torch.zeros(arguments.batch, dtype=torch.long)]

    def take() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        step(batch).backward()
        optimizer.step()
        return time.perf_counter() - start

    return take


def work(
    rank: int, world: int, folder: str, pipe: Connection, arguments: argparse.Namespace
) -> None:
    """One process: takes a step of the row that it is told, and answers with the seconds."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if world > 1:
        store = f"file://{Path(folder) / 'store'}"
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    register_resolvers()
    register()
    steps = {row: stepper(row, world, arguments) for row in _ROWS}
    pipe.send(None)
    while (row := pipe.recv()) is not None:
        pipe.send(steps[row]())
    if world > 1:
        torch.distributed.destroy_process_group()


def together(pipes: list[Connection], row: str) -> float:
    """Let processes take one step at the same time; the slowest one's seconds count."""
    for pipe in pipes:
        pipe.send(row)
    return max(pipe.recv() for pipe in pipes)


def measure(arguments: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Return, for every row, the seconds of a step in one process and in two, round by round."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        groups: list[list[Connection]] = []
        processes = []
        for world in (1, 2):
            groups.append([])
            for rank in range(world):
                here, there = context.Pipe()
                options = (rank, world, folder, there, arguments)
                processes.append(context.Process(target=work, args=options, daemon=True))
                processes[-1].start()
                groups[-1].append(here)
        pipes = [pipe for group in groups for pipe in group]
        for pipe in pipes:
            pipe.recv()
        pairs: dict[str, list[tuple[float, float]]] = {row: [] for row in _ROWS}
        for _ in range(arguments.rounds + _WARM_UP):
            for row in _ROWS:
                one, two = (together(group, row) for group in groups)
                pairs[row].append((one, two))
        for pipe in pipes:
            pipe.send(None)
        for process in processes:
            process.join()
    return {row: values[_WARM_UP:] for row, values in pairs.items()}


def main() -> None:
    """Print one row per method."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=128, help="pairs of each process")
    parser.add_argument("--size", type=int, default=32, help="side of the views in pixels")
    parser.add_argument("--width", type=int, default=2048, help="of the projector")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # read when a process starts
    print(f"ResNet-18, {arguments.size} px, {arguments.batch} pairs and one thread per process,")
    print(f"D={arguments.width}, torch {torch.__version__}")
    print("| method | 1 process, s/step | 2 processes, s/step | pairs/s: 2 over 1 (quartiles) |")
    print("|---|---|---|---|")
    for row, pairs in measure(arguments).items():
        one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
        low, middle, high = statistics.quantiles([2 * a / b for a, b in pairs], n=4)
        print(f"| {row} | {one:.3f} | {two:.3f} | {middle:.2f} ({low:.2f}-{high:.2f}) |")


if __name__ == "__main__":
    main()
