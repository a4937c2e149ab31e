"""A whole training step, MAST against the host's VICReg: ratios from one run.

Both methods train the same backbone and projector on the same views through their own
``training_step``, backward pass and optimiser; their steps alternate, so that a change of the
machine's speed falls on both.

    python benchmarks/step.py --types 5 15
"""

import argparse
import statistics
import time
import warnings

import torch
from timed_method import built

from mast_plugin import register
from mast_plugin.registration import register_resolvers
from mast_plugin.views.pair import RoutedPair

_NAMES = {5: "mast", 15: "mast15"}


def stepper(name: str, arguments: argparse.Namespace):
    """Return a function that takes one training step and returns its seconds."""
    model = built(name, width=arguments.width, size=arguments.size).to(arguments.device)
    optimizer = model.configure_optimizers()
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    views = [torch.randn(shape, device=arguments.device) for _ in range(2)]
    labels = torch.zeros(arguments.batch, dtype=torch.long, device=arguments.device)
    if name != "vicreg":
        route = model.routes.draw(arguments.batch, len(model.plan.types))
        difference = torch.randn(arguments.batch, len(model.head.difference_types))
        views = RoutedPair(*views, route.to(arguments.device), difference.to(arguments.device))

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        model.training_step([torch.arange(arguments.batch), views, labels], 0).backward()
        optimizer.step()
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return step


def main() -> None:
    """Print one row per number of types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", type=int, nargs="+", choices=sorted(_NAMES), default=[5, 15])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=32, help="side of the views in pixels")
    parser.add_argument("--width", type=int, default=2048, help="of the projector")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    register_resolvers()
    register()
    print(f"ResNet-18, {arguments.size} px, N={arguments.batch}, D={arguments.width}")
    print("| K | VICReg s/step | MAST s/step | ratio: median (quartiles) |\n|---|---|---|---|")
    baseline = stepper("vicreg", arguments)
    for types in arguments.types:
        ours = stepper(_NAMES[types], arguments)
        pairs = [(baseline(), ours()) for _ in range(arguments.rounds + 2)][2:]
        ratios = [b / a for a, b in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        seconds = [statistics.median(column) for column in zip(*pairs, strict=True)]
        print(
            f"| {types} | {seconds[0]:.3f} | {seconds[1]:.3f} "
            f"| {middle:.3f} ({low:.3f}-{high:.3f}) |"
        )


if __name__ == "__main__":
    main()
