"""One process of test_distributed_method.py: training steps through torch's own DDP wrapper."""

import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from mast_plugin.errors import DataError
from mast_plugin.views.pair import RoutedPair

PER_RANK, SIDE, TYPES, CLASSES = 6, 16, 5, 3
NUMBERS = 10  # numbers of a difference: 4 of the crop, 4 of colour jitter, grayscale, blur
SCENARIOS = (("mast", True), ("mast", False), ("vicreg", True))


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What torch.nn.SyncBatchNorm computes while training; that one refuses CPU tensors."""

    def forward(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        count = x.numel() / x.shape[1] * torch.distributed.get_world_size()
        centred = x - (all_reduce(x.sum(axes)) / count).view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count
        scaled = centred / (variance + self.eps).sqrt().view(shape)
        return scaled * self.weight.view(shape) + self.bias.view(shape)


class PartBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What batch norm computes in several processes without synchronisation, in one process."""

    def forward(self, x: Tensor) -> Tensor:
        parts = x.split(PER_RANK)
        return torch.cat([F.batch_norm(p, None, None, self.weight, self.bias, True) for p in parts])


class Step(nn.Module):
    """Sends the wrapper's forward to a method's training step, as Lightning does."""

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: list[Any], batch_idx: int = 0) -> Tensor:
        return self.method.training_step(batch, batch_idx)


class Backbone(nn.Sequential):
    """Two convolutions with batch norm, and as many features as a ResNet-18 has."""

    def __init__(self) -> None:
        layers = []
        for channels_in, channels_out in ((3, 8), (8, 512)):
            layers += [
                nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.ReLU(),
            ]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def build(cfg: DictConfig, host: Any) -> Step:
    """The method with a small backbone, and an uncertainty network that has learned something."""
    torch.manual_seed(0)
    method = host.build(cfg.copy())  # the main branch completes what it is given
    (name,) = (n for n, module in method.named_children() if module is host.backbone(method))
    setattr(method, name, Backbone())
    method.log = method.log_dict = lambda *_, **__: None  # logging needs a Trainer
    if cfg.method == "mast":
        for parameter in method.head.uncertainty_parameters:
            nn.init.normal_(parameter, std=0.1)
    return Step(method)


def batch_of(name: str, world: int, ranks: slice) -> list[Any]:
    """The part of those ranks; each has other images, other routes and other classes."""
    generator = torch.Generator().manual_seed(2)
    views = torch.randn((2, world, PER_RANK, 3, SIDE, SIDE), generator=generator)
    views = views * torch.linspace(0.5, 1.5, world).view(-1, 1, 1, 1, 1)
    route = torch.rand((world, PER_RANK, TYPES), generator=generator) < 0.6
    route[0, :, 2] = False
    labels = torch.randint(CLASSES, (world, PER_RANK), generator=generator)
    difference = torch.randn((world, PER_RANK, NUMBERS), generator=generator)
    first, second, *others = (
        tensor[ranks].flatten(0, 1) for tensor in (*views.unbind(), route, difference)
    )
    part = RoutedPair(first, second, *others) if name == "mast" else [first, second]
    return [torch.arange(len(first)), part, labels[ranks].flatten()]


def gradients(step: Step) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in step.method.named_parameters()}


def normalise_with(kind: type, step: Step) -> None:
    for module in step.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            module.__class__ = kind


def refusal(step: Step, batch: list[Any], batch_idx: int, entry: str) -> str:
    """The sentence with which a training step ends, if it does."""
    step.method.cfg.entry = entry
    try:
        step(batch, batch_idx)
    except DataError as error:
        return str(error)
    return ""


def uneven(rank: int, step: Step) -> dict[str, str]:
    """What becomes of a batch that lacks its last image on one process alone."""
    index, pair, labels = batch_of("mast", 2, slice(rank, rank + 1))
    count = PER_RANK - rank
    batch = [index[:count], RoutedPair(*(each[:count] for each in pair)), labels[:count]]
    return {
        "first batch, our loader": refusal(step, batch, 0, "mast_plugin"),
        "later batch, another loader": refusal(step, batch, 1, "elsewhere"),
    }


def synchronised_norm_of_torch() -> str:
    """What torch's own module says to a tensor on the CPU."""
    try:
        nn.SyncBatchNorm(3)(torch.randn(4, 3))
    except ValueError as error:
        return str(error)
    return ""


def main(rank: int, world: int, folder: Path) -> None:
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    from mast_plugin import register
    from mast_plugin.host import load_host

    register()
    host = load_host()
    result: dict[Any, Any] = {}
    for name, synchronised in SCENARIOS:
        step = build(OmegaConf.load(folder / f"{name}.yaml"), host)
        if synchronised:
            normalise_with(GlobalBatchNorm, step)
        wrapper = DistributedDataParallel(step)
        loss = wrapper(batch_of(name, world, slice(rank, rank + 1)))
        loss.backward()
        result[name, synchronised] = {"loss": loss.detach(), "gradients": gradients(step)}
        if name == "mast":
            result["uneven"] = uneven(rank, step)
    result["torch's"] = synchronised_norm_of_torch()
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the hosts' dependencies warn of themselves
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
