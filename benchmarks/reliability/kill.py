"""A run that is killed again and again ends where one that was left alone ends, bit for bit.

Everything is imported once; each attempt is a fork of that process, so that a kill costs a second
and not ten. Some attempts are killed at random times, others while they write a checkpoint, give it
its name, or remove the one before it.

    python benchmarks/reliability/kill.py --kills 20
"""

import argparse
import os
import random
import signal
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from attempt import EVENTS, Aim, printed, start, wait
from hydra import compose, initialize_config_dir
from network import shrink
from PIL import Image

from mast_plugin.registration import register, register_resolvers
from mast_plugin.setting.shipped import shipped_directory

PATIENCE_S = 600.0
UNCOUNTED = "/loops/fit_loop/epoch_progress/total/completed"
"""Lightning 1 leaves out the epoch that a resumed run goes on after; nothing reads the number."""


@dataclass(frozen=True)
class Pace:
    """How fast the undisturbed run was, in seconds."""

    start: float
    epoch: float


def configuration(arguments: argparse.Namespace, images: Path, folder: Path):
    """Compose the run: two small steps an epoch, everything else as shipped."""
    with initialize_config_dir(str(shipped_directory()), version_base="1.2"):
        return compose(
            arguments.recipe,
            overrides=[
                f"data.train_path={images}",
                "evaluation.dataset=null",
                "optimizer.batch_size=8",
                f"data.num_workers={arguments.workers}",
                "method_kwargs.proj_hidden_dim=16",
                "method_kwargs.proj_output_dim=24",
                "enable_progress_bar=false",
                "+enable_model_summary=false",
                "+limit_train_batches=2",
                "scheduler.warmup_epochs=2",
                f"max_epochs={arguments.epochs or arguments.kills * 3 // 2 + 16}",
                f"checkpoint.dir={folder}",
                "checkpoint.frequency=1",
                "auto_resume.enabled=true",
                *arguments.overrides,
            ],
        )


def write_images(folder: Path) -> None:
    """Three classes of eight noisy images, 20 x 24 px."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def undisturbed(cfg: Any, folder: Path) -> Pace:
    """Run to the end and measure the pace."""
    began, first = time.monotonic(), None
    process = start(cfg, folder)
    while (status := wait(process, 0.01)) is None:
        if first is None and list(folder.rglob("*.ckpt")):
            first = time.monotonic()
    if status or first is None:
        sys.exit(f"the undisturbed run failed:\n{printed(folder)}")
    epoch = (time.monotonic() - first) / (cfg.max_epochs - 1)
    return Pace(first - began - epoch, epoch)


def killed(
    cfg: Any, folder: Path, kills: int, pace: Pace, rng: random.Random
) -> tuple[Counter[str], int]:
    """Start the run until it ends, and kill it so many times.

    Returns:
        Where it was struck, and how often a checkpoint was cut off.
    """
    struck, cut = Counter[str](), 0
    while struck.total() < kills:
        event = rng.choice([None, None, "open", *EVENTS])
        # Cubed, as what is aimed at takes a small part of an epoch.
        delay = rng.choice([0, pace.epoch * rng.random() ** 3])
        aim = Aim(event, rng.randint(1, 2), delay) if event else None
        process = start(cfg, folder, aim)
        patience = PATIENCE_S if aim else rng.uniform(0, pace.start + 4 * pace.epoch)
        status = wait(process, patience)
        if status is None:
            os.kill(process, signal.SIGKILL)
            status = wait(process, PATIENCE_S)
        if status == 0:
            sys.exit(f"the run ended after {struck.total()} kills: give more --epochs")
        if status != -signal.SIGKILL:
            sys.exit(f"an attempt failed:\n{printed(folder)}")
        struck[EVENTS[event] if event else "at random"] += 1
        cut += inspect(folder)
    if status := wait(start(cfg, folder), PATIENCE_S):
        sys.exit(f"the last attempt failed:\n{printed(folder)}")
    return struck, cut


def inspect(folder: Path) -> int:
    """Read every checkpoint that a kill left, which fails if one is not whole; count the parts."""
    for path in folder.rglob("*.ckpt"):
        torch.load(path, weights_only=False, map_location="cpu")
    return len(list(folder.rglob(".*.ckpt.part")))


def last_checkpoint(folder: Path, epochs: int) -> dict[str, Any]:
    """Read the only checkpoint that a finished run leaves."""
    (path,) = folder.rglob("*.ckpt")
    if not path.name.endswith(f"ep={epochs - 1}.ckpt"):
        sys.exit(f"{path} is not the last epoch's")
    return torch.load(path, weights_only=False, map_location="cpu")


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Name every place where two checkpoints are not the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [place]
    if place == UNCOUNTED:
        return []
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [place]
        return [d for key in one for d in differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [place]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, pair in pairs for d in differences(*pair, f"{place}/{i}")]
    return [] if one == other else [place]


def main() -> None:
    """Run the command line; the exit status is 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, help="of the run; more than kills by default")
    parser.add_argument("--seed", type=int, default=0, help="of when it is killed")
    parser.add_argument("--recipe", default="mast")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--full-size", action="store_true", help="the ResNet-18 as it is")
    parser.add_argument("overrides", nargs="*", help="of the recipe")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the engines', of a run of two steps
    torch.set_num_threads(1)
    register_resolvers()
    register()
    if not arguments.full_size:
        shrink()
    with TemporaryDirectory() as place:
        root = Path(place)
        write_images(root / "images")
        whole, cut = (configuration(arguments, root / "images", root / n) for n in ("whole", "cut"))
        began = time.monotonic()
        pace = undisturbed(whole, root / "whole")
        rng = random.Random(arguments.seed)
        struck, parts = killed(cut, root / "cut", arguments.kills, pace, rng)
        ends = [last_checkpoint(root / name, whole.max_epochs) for name in ("whole", "cut")]
        found = differences(*ends)
    print(f"{arguments.recipe}, {whole.max_epochs} epochs, {time.monotonic() - began:.0f} s")
    print(f"pace: {pace.start:.2f} s to start, {pace.epoch:.2f} s an epoch")
    places = ", ".join(f"{count} {name}" for name, count in sorted(struck.items()))
    print(f"kills: {struck.total()} ({places}); checkpoints cut off: {parts}")
    print(f"differences in the last checkpoint: {', '.join(found) or 'none'}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
