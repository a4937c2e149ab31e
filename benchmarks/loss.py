"""Cost of MAST's loss against solo-learn's VICReg loss: ``python benchmarks/loss.py``.

Both run forward and backward, on the CPU, in one process and on one thread; only ratios are
printed, as times depend on the machine. Every round times each loss once, one after the other, so
that a busy neighbour slows all of them; the median over rounds counts. Peak memory is what the
allocator hands out during one forward and backward pass: the highest running sum of the allocations
and releases that ``torch.profiler`` records, gradients included, inputs not.

The defaults (N = 256, D = 2048 and 4096, K = 5, 15 and 50) take about half a minute on one core.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mast_plugin import mast_loss
from mast_plugin.core.equivariance import predicted_difference

Step = Callable[[], Tensor]
NUMBERS = 2  # of a type's difference, as many as the usual five have on average


def main() -> None:
    """Print one row of ratios per embedding dimension and number of types."""
    args = parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"mast_loss / vicreg_loss_func, forward and backward, N = {args.images}, one thread")
    print(f"{'D':>6} {'K':>4} {'time':>7} {'peak memory':>12}")
    for num_dims in args.dims:
        steps = losses(args.images, num_dims, args.types)
        seconds = interleaved_seconds(steps, args.rounds)
        peaks = [peak_bytes(step) for step in steps]
        for num_types, time_, peak in zip(args.types, seconds[1:], peaks[1:], strict=True):
            ratios = f"{time_ / seconds[0]:7.3f} {peak / peaks[0]:12.3f}"
            print(f"{num_dims:6} {num_types:4} {ratios}", flush=True)


def parse_args() -> argparse.Namespace:
    """Read sizes and rounds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=256, help="N, pairs in a batch")
    parser.add_argument("--dims", type=int, nargs="+", default=[2048, 4096], help="D, one or more")
    parser.add_argument("--types", type=int, nargs="+", default=[5, 15, 50], help="K, one or more")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that the median is taken of")
    return parser.parse_args()


def losses(num_images: int, num_dims: int, types: list[int]) -> list[Step]:
    """Return the host's loss, and MAST's for each number of types, on the same embeddings."""
    with warnings.catch_warnings(record=True):  # the host's dependencies warn of themselves
        from solo.losses.vicreg import vicreg_loss_func

    z1 = torch.randn(num_images, num_dims, requires_grad=True)
    z2 = torch.randn(num_images, num_dims, requires_grad=True)

    def mast(num_types: int) -> Step:
        masks = torch.sigmoid(torch.randn(num_types, num_dims) + 2).requires_grad_()
        route = torch.rand(num_images, num_types) < 0.7
        u = torch.randn(num_images, num_types, requires_grad=True)
        difference_types = torch.arange(num_types).repeat_interleave(NUMBERS)
        difference = torch.randn(num_images, len(difference_types))
        predictor = torch.randn(len(difference_types), num_dims).div(num_dims).requires_grad_()

        def step() -> Tensor:
            predicted = predicted_difference(z1, z2, masks, difference_types, predictor)
            outside = {
                "predicted": predicted,
                "difference": difference,
                "difference_types": difference_types,
            }
            terms = mast_loss(z1, z2, masks=masks, route=route, log_variance=u, **outside)
            return terms.loss

        return step

    return [lambda: vicreg_loss_func(z1, z2), *(mast(num_types) for num_types in types)]


def interleaved_seconds(steps: list[Step], rounds: int) -> list[float]:
    """Return each step's median seconds, forward and backward."""
    seconds: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds + 1):
        for step, times in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            torch.autograd.backward(step())
            times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in seconds]  # the first round warms up


def peak_bytes(step: Step) -> int:
    """Return the most memory in use at once, forward and backward, beyond the inputs."""
    with profile(
        activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True
    ) as profiler:
        torch.autograd.backward(step())
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    memory = sorted(
        ((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"),
        key=lambda change: change[0],
    )
    in_use = peak = 0
    for _, change in memory:
        in_use += change
        peak = max(peak, in_use)
    return peak


if __name__ == "__main__":
    main()
