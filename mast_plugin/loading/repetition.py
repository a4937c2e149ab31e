"""What makes an epoch the same whenever it runs: all that is drawn follows from the seed.

Nothing of a generator's state has to be saved or restored: the order of the images is a function of
seed and epoch, the views of an image one of seed, epoch and image, whichever process makes them and
however many there are.
"""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

Key = tuple[int, int]
"""Epoch and image, both counted from 0."""


def seed_of(*parts: int | str) -> int:
    """Mix numbers and names into a seed in [0, 2^32): as much as torch's CPU generator takes."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


class LateLoader(DataLoader[Any]):
    """A loader that asks its sampler, and starts its workers, when the first batch is wanted.

    Lightning 2 makes the first iterator of a resumed run before it says which epoch it is for; the
    workers would have loaded images of the first epoch by then.
    """

    def __iter__(self) -> Any:
        yield from super().__iter__()


class EpochSampler(DistributedSampler[Any]):
    """Keys of one process's images, shuffled anew for every epoch.

    Both engines leave a ``DistributedSampler`` as it is and call ``set_epoch`` before the first
    batch of an epoch is loaded, after a resumption as well.

    Args:
        images: what is sampled.
        seed: of the order.
        num_processes: that train together.
        rank: of this one.
    """

    def __init__(self, images: Dataset[Any], *, seed: int, num_processes: int, rank: int) -> None:
        super().__init__(images, num_replicas=num_processes, rank=rank, seed=seed)

    def __iter__(self) -> Iterator[Key]:
        return ((self.epoch, index) for index in super().__iter__())


class RepeatableImages(Dataset[Any]):
    """A dataset of random views, each drawn from a seed of its own.

    Args:
        images: draws from torch's global generator alone.
        seed: of the run.
    """

    def __init__(self, images: Dataset[Any], seed: int) -> None:
        self.images = images
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)  # type: ignore[arg-type]

    def __getitem__(self, key: Key | int) -> Any:
        # With overfit_batches the engine brings a sampler of its own, which gives plain numbers.
        epoch, index = key if isinstance(key, tuple) else (0, key)
        with _seeded(seed_of(self.seed, epoch, index)):
            return self.images[index]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator, and put it back: the network may draw from it as well."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def reseeding(engine: ModuleType, seed: int) -> Any:
    """A callback that lets a resumed run draw, weigh and step as if it had never stopped.

    Args:
        engine: whose ``Callback`` it is.
        seed: of the run.
    """

    class Reseeding(engine.Callback):  # type: ignore[misc, name-defined]
        def on_train_epoch_start(self, trainer: Any, _: Any) -> None:
            epoch_seed = seed_of(seed, trainer.current_epoch, f"process {trainer.global_rank}")
            random.seed(epoch_seed)
            np.random.seed(epoch_seed)
            torch.manual_seed(epoch_seed)

        def on_save_checkpoint(self, _: Any, module: Any, checkpoint: dict[str, Any]) -> None:
            for schedule in checkpoint["lr_schedulers"]:
                # Where a rate is constant, both hosts put a function on the schedule. Saved, it
                # would bring a copy of the optimiser along, and a resumed run would read its rates.
                schedule.pop("get_lr", None)
            if updater := getattr(module, "momentum_updater", None):
                checkpoint[_TAU] = updater.cur_tau

        def on_load_checkpoint(self, _: Any, module: Any, checkpoint: dict[str, Any]) -> None:
            # Both hosts start a resumed run with the first epoch's momentum, for one step.
            if _TAU in checkpoint:
                module.momentum_updater.cur_tau = checkpoint[_TAU]

    return Reseeding()


_TAU = "momentum_tau"
