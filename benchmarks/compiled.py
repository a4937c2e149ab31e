"""What torch.compile gains on head and loss: ratios from one run.

Each row is one step, forward and backward, compiled over plain; the two take turns, so that a
change of the machine's speed falls on both. Before anything is timed, both must agree.

    python benchmarks/compiled.py

The defaults compile four times, which takes g++ a few minutes on a CPU.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch

from mast_plugin import SubspaceHead, mast_loss
from mast_plugin.core.loss import MASTTerms

Compute = Callable[[], MASTTerms]


def loss_alone(uncertainty: bool, arguments: argparse.Namespace) -> Compute:
    """Return the computation of the loss from embeddings, masks and log-variances."""
    torch.manual_seed(0)
    options = {"device": arguments.device, "requires_grad": True}
    z1, z2 = (torch.randn(arguments.batch, arguments.width, **options) for _ in range(2))
    masks = torch.rand(arguments.types, arguments.width, **options)
    u = torch.randn(arguments.batch, arguments.types, **options) if uncertainty else None
    route = torch.rand(arguments.batch, arguments.types, device=arguments.device) < 0.7
    return lambda: mast_loss(z1, z2, masks=masks, route=route, log_variance=u)


def head_and_loss(uncertainty: bool, arguments: argparse.Namespace) -> Compute:
    """Return the computation of the loss from features."""
    torch.manual_seed(0)
    head = SubspaceHead(
        features_dim=arguments.features,
        hidden_dim=arguments.width,
        embedding_dim=arguments.width,
        num_types=arguments.types,
        uncertainty=uncertainty,
    ).to(arguments.device)
    shape = (2, arguments.batch, arguments.features)
    f1, f2 = torch.randn(shape, device=arguments.device).unbind()
    route = torch.rand(arguments.batch, arguments.types, device=arguments.device) < 0.7

    def compute() -> MASTTerms:
        u = head.log_variance(f1, f2)
        return mast_loss(head(f1), head(f2), masks=head.masks, route=route, log_variance=u)

    return compute


def seconds(compute: Compute, device: str) -> float:
    """Time one step, forward and backward."""
    start = time.perf_counter()
    torch.autograd.backward(compute().loss)
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(plain: Compute, arguments: argparse.Namespace) -> tuple[float, list[float]]:
    """Return the seconds of the first, compiling step, and the ratios that follow."""
    torch.compiler.reset()
    compiled = torch.compile(plain, fullgraph=True)
    first = seconds(compiled, arguments.device)
    torch.testing.assert_close(compiled(), plain(), rtol=1e-4, atol=1e-5)
    ratios = []
    for _ in range(arguments.rounds + 2):
        slow, fast = seconds(plain, arguments.device), seconds(compiled, arguments.device)
        ratios.append(fast / slow)
    return first, ratios[2:]


def main() -> None:
    """Print one row per computation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=256, help="N, pairs in a batch")
    parser.add_argument("--features", type=int, default=512, help="width of the features")
    parser.add_argument("--width", type=int, default=2048, help="D, and the projector's width")
    parser.add_argument("--types", type=int, default=5, help="K")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # torch deprecates parts of its own compiler
    torch.set_num_threads(arguments.threads)
    print(f"N={arguments.batch}, D={arguments.width}, K={arguments.types}, {arguments.device},")
    print(f"{arguments.threads} thread(s), torch {torch.__version__}")
    print("| step | uncertainty | compiled / plain (quartiles) | first step, s |")
    print("|---|---|---|---|")
    for name, make in {"loss": loss_alone, "head and loss": head_and_loss}.items():
        for uncertainty in (True, False):
            first, ratios = compare(make(uncertainty, arguments), arguments)
            low, middle, high = statistics.quantiles(ratios, n=4)
            words = "yes" if uncertainty else "no"
            print(f"| {name} | {words} | {middle:.3f} ({low:.3f}-{high:.3f}) | {first:.0f} |")


if __name__ == "__main__":
    main()
