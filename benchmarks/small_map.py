"""A network with its tiny maps' convolutions as matrix products, over the plain one: one ratio.

Both take a forward and a backward pass in turn, so that a change of the machine's speed falls on
both.

    python benchmarks/small_map.py
"""

import argparse
import statistics
import time
from copy import deepcopy

import torch
from torchvision.models import resnet18

from mast_plugin.running.small_map import compact


def seconds(network: torch.nn.Module, images: torch.Tensor) -> float:
    """Time one forward and one backward pass."""
    start = time.perf_counter()
    network(images).square().mean().backward()
    return time.perf_counter() - start


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    layout = torch.channels_last
    plain = resnet18().to(memory_format=layout)
    changed = compact(deepcopy(plain))
    images = torch.randn(options.batch, 3, options.size, options.size).to(memory_format=layout)
    for network in (plain, changed):
        seconds(network, images)
    pairs = [(seconds(changed, images), seconds(plain, images)) for _ in range(options.rounds)]
    low, middle, high = statistics.quantiles([ours / theirs for ours, theirs in pairs], n=4)
    print(f"{options.batch} views of {options.size} px, {options.threads} threads, torch ", end="")
    print(f"{torch.__version__}: {middle:.3f} ({low:.3f}-{high:.3f})")


if __name__ == "__main__":
    main()
