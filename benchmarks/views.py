"""Speed and memory of routed DALI views on the CPU: ``python benchmarks/views.py``.

Every loader gets the same two cores and the same images, JPEGs made here: 32 px and, for views of
224 px, 500 x 375 px. Rounds go through all loaders one after the other, so that a busy neighbour
slows all of them; the median over rounds counts, and only ratios are printed, as times depend on
the machine. Compared are

- ``pil``: solo-learn's loader with its own transform where it knows the types (K = 5), this
  project's torchvision path with every type active otherwise;
- ``host dali``: solo-learn's own DALI pipeline, un-routed. It takes the main branch, whose builder
  is called directly: its data module asks for a GPU;
- ``ours``: DALI with routes.

Memory is the process's resident set over 20 epochs of the routed loader at 224 px.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import DataLoader

from mast_plugin.core.route import RoutePolicy
from mast_plugin.loading.dali.configured import draws_of
from mast_plugin.loading.dali.loader import DALILoader
from mast_plugin.loading.dali.source import Files
from mast_plugin.loading.data import IndexedImages
from mast_plugin.loading.listed import FolderImages
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.plan import Plan, ViewSpec
from mast_plugin.views.torchvision import PlainViews, RoutedViews

FIVE = ("crop", "color_jitter", "grayscale", "gaussian_blur", "horizontal_flip")
FIFTEEN = tuple(name for name in TYPES if name != "color_jitter")
SIZES = {32: (32, 32, 2048), 224: (375, 500, 320)}
"""View to height and width of the images, and how many there are."""
BATCH = 64
AHEAD = 2
CORES = 2
POLICY = RoutePolicy()


def main() -> None:
    """Print ratios per size and number of types, then memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds that the median is taken of")
    rounds = parser.parse_args().rounds
    print(f"views per second, routed DALI on the CPU over others, {CORES} cores, batch {BATCH}")
    print(f"{'px':>4} {'K':>3} {'over pil':>9} {'over host dali':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            root = Path(folder) / str(size)
            write_images(root / "all", *SIZES[size])
            for names in (FIVE, FIFTEEN):
                apart(report_speed, root, size, names, rounds)
        apart(report_memory, root, size, names)


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """Do something in a fresh process: PIL's workers must not be forked beside DALI's threads."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def plan_of(size: int, names: tuple[str, ...]) -> Plan:
    """The types with their defaults."""
    return Plan(size, tuple(Augmentation(name, TYPES[name].prob) for name in names))


def report_speed(root: Path, size: int, names: tuple[str, ...], rounds: int) -> None:
    """Print one line of ratios."""
    torch.set_num_threads(1)
    plan = plan_of(size, names)
    loaders = {"pil": pil(root, plan, names)}
    iter(loaders["pil"])  # starts its workers
    loaders |= {"ours": routed(root, plan)}
    loaders |= host_dali(root, plan) if names == FIVE else {}
    seconds = interleaved_seconds(loaders, rounds)
    ratios = {name: value / seconds["ours"] for name, value in seconds.items()}
    host = f"{ratios['host dali']:15.2f}" if "host dali" in ratios else f"{'-':>15}"
    print(f"{size:4} {len(names):3} {ratios['pil']:9.2f} {host}", flush=True)


def write_images(folder: Path, height: int, width: int, count: int) -> None:
    """Write smooth, noisy JPEGs, about as large as photographs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    for index in range(count):
        a, b, c = rng.uniform(1, 6, 3)
        smooth = np.stack([np.sin(a * x + y), np.cos(b * y), np.sin(c * (x + y))], -1)
        noisy = 128 + 90 * smooth + rng.normal(0, 12, smooth.shape)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{index:04}.jpg", quality=90)


def routed(root: Path, plan: Plan) -> Any:
    """This project's DALI loader."""
    samples = FolderImages(root, labelled=False).samples
    draws = draws_of(RoutedViews(plan, POLICY))
    return DALILoader(
        Files(samples), draws, batch_size=BATCH, seed=0, device="cpu", num_threads=CORES
    )


def pil(root: Path, plan: Plan, names: tuple[str, ...]) -> Any:
    """The host's PIL loader, or ours with the same work where the host lacks a type."""
    transform: Callable[[Image.Image], Any] = PlainViews([ViewSpec(plan, 2)])
    if names == FIVE and (module := host_module("pretrain_dataloader")):
        single = module.build_transform_pipeline("custom", host_block(plan))
        transform = module.prepare_n_crop_transform([single], [2])
    dataset = IndexedImages(FolderImages(root, labelled=False), transform, unlabelled=True)
    return DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=CORES,
        persistent_workers=True,
    )


def host_dali(root: Path, plan: Plan) -> dict[str, Any]:
    """The host's un-routed DALI pipeline, run as often as an epoch has batches."""
    module = host_module("dali_dataloader")
    if module is None:
        return {}
    single = module.build_transform_pipeline_dali("custom", host_block(plan), "cpu")
    builder = module.PretrainPipelineBuilder(
        root, BATCH, "cpu", lambda images: [single(images), single(images)], num_threads=CORES
    )
    pipeline = builder.pipeline(
        batch_size=BATCH, num_threads=CORES, device_id=None, seed=0, prefetch_queue_depth=AHEAD
    )
    pipeline.build()
    return {"host dali": Repeated(pipeline.run, len(FolderImages(root, labelled=False)) // BATCH)}


class Repeated:
    """An epoch that is a number of calls.

    The pipeline knows no epochs and goes on working ahead while others are timed: what it has got
    ready by then is thrown away before the clock starts.
    """

    def __init__(self, call: Callable[[], Any], count: int) -> None:
        self.call = call
        self.count = count

    def settle(self) -> None:
        """Throw away what is ready."""
        for _ in range(AHEAD):
            self.call()

    def __iter__(self) -> Iterator[Any]:
        return (self.call() for _ in range(self.count))


def host_module(name: str) -> Any:
    """A module of the main branch's ``solo.data``, or ``None``."""
    import importlib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"solo.data.{name}")
    except ImportError:
        return None


def host_block(plan: Plan) -> Any:
    """The five types in the host's dialect."""
    settings = {each.name: {"prob": each.prob, **each.settings} for each in plan.augmentations}
    crop = settings.pop("crop")
    rrc = {
        "enabled": True,
        "crop_min_scale": crop["min_scale"],
        "crop_max_scale": crop["max_scale"],
    }
    off = {"solarization": {"prob": 0.0}, "equalization": {"prob": 0.0}}
    return OmegaConf.create({"crop_size": plan.crop_size, "rrc": rrc, **settings, **off})


def interleaved_seconds(loaders: dict[str, Any], rounds: int) -> dict[str, float]:
    """Each loader's median seconds per epoch, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds + 1):
        for name, loader in loaders.items():
            if isinstance(loader, Repeated):
                loader.settle()
            start = time.perf_counter()
            for _ in loader:
                pass
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def report_memory(root: Path, size: int, names: tuple[str, ...]) -> None:
    """Resident memory after the second epoch and after the twentieth, with a batch kept."""
    loader = routed(root, plan_of(size, names))
    sizes = []
    for _ in range(20):
        for kept in loader:  # noqa: B007 (a batch is alive while the next one is made)
            pass
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        sizes.append(pages * 4096 / 2**20)
    print(f"resident memory: {sizes[1]:.0f} MiB after 2 epochs, {sizes[-1]:.0f} MiB after 20")


if __name__ == "__main__":
    main()
