"""What cases are made from: small, whole files and configurations, each made once."""

import functools
import io
import os
import random
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
RECIPES = ("mast", "mast15", "simclr", "vicreg")
FOLDERS = (".", "cifar", "stl10", "imagenet-100", "imagenet", "custom")


@functools.cache
def image(format_: str = "PNG", size: tuple[int, int] = (20, 16), seed: int = 0) -> bytes:
    """A noisy image, encoded."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format_)
    return file.getvalue()


def write_images(folder: Path, count: int = 3) -> None:
    """Two class folders of ``count`` images."""
    for name in ("ant", "bee"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"{index}.png").write_bytes(image())


def write_labelled(folder: Path, rows: list[list[str]]) -> None:
    """Twelve images and their table of tasks."""
    folder.mkdir(parents=True)
    for index in range(12):
        (folder / f"{index}.png").write_bytes(image(seed=index % 2))
    text = "\n".join(",".join(row) for row in [["file", "split", "digit", "hue"], *rows]) + "\n"
    (folder / "labels.csv").write_text(text, encoding="utf-8")


def rows() -> list[list[str]]:
    """The rows of a whole table of tasks."""
    splits = ["train"] * 8 + ["val"] * 4
    return [[f"{i}.png", split, str(i % 2), "rb"[i % 2]] for i, split in enumerate(splits)]


def shard(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of those members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def members() -> list[tuple[tarfile.TarInfo, bytes]]:
    """Four samples of an image and its label."""
    found = []
    for index in range(4):
        for suffix, content in (("png", image(seed=index)), ("cls", str(index % 2).encode())):
            info = tarfile.TarInfo(f"{index:04}.{suffix}")
            info.size = len(content)
            found.append((info, content))
    return found


@functools.cache
def checkpoint(form: str) -> bytes:
    """A small file of weights: ``ckpt``, ``legacy``, ``pth`` or ``safetensors``."""
    weights = {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.zeros(3)}
    file = io.BytesIO()
    if form == "safetensors":
        from safetensors.torch import save

        return save(weights)
    if form == "ckpt":
        torch.save(whole_checkpoint(weights), file)
    else:
        torch.save(weights, file, _use_new_zipfile_serialization=form != "legacy")
    return file.getvalue()


def whole_checkpoint(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What an engine saves, a function in its schedule and a configuration included."""
    schedule = {"last_epoch": 2, "get_lr": functools.partial(torch.nn.functional.relu)}
    return {
        "state_dict": weights,
        "optimizer_states": [{"state": {0: {"momentum": torch.ones(3)}}, "param_groups": []}],
        "lr_schedulers": [schedule],
        "loops": {"fit_loop": {"state_dict": {}}},
        "epoch": 1,
        "global_step": 4,
        "pytorch-lightning_version": "1.9.5",
        "hyper_parameters": {"cfg": OmegaConf.create({"backbone": {"name": "resnet18"}})},
    }


@functools.cache
def recipe(folder: str, name: str) -> dict[str, Any]:
    """A shipped configuration, composed, on six images of the working directory."""
    from mast_plugin.comparison.variant import Variant, composed
    from mast_plugin.setting.configuration import plain
    from mast_plugin.setting.shipped import shipped_directory

    changes = {
        "data.dataset": "custom",
        "data.train_path": "images",
        "data.val_path": None,
        "data.num_workers": 0,
        "evaluation.dataset": None,
        "optimizer.batch_size": 2,
        "checkpoint.dir": "runs",
    }
    found = plain(composed(Variant(name, name, changes), shipped_directory() / folder))
    return {key: value for key, value in found.items() if key != "hydra"}


def any_recipe(rng: random.Random) -> dict[str, Any]:
    """One of the shipped configurations."""
    folder = rng.choice(FOLDERS)
    return recipe(folder, rng.choice(RECIPES if folder == "." else ("mast", "simclr", "vicreg")))


@functools.cache
def _store() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hostile-")


def link(name: str, target: Path) -> None:
    """Put a network's file, which takes a while to make, where a case wants it."""
    path = Path(_store().name) / name
    if not path.is_file():
        torch.save(_NETWORKS[name](), path)
    os.link(path, target)


def _bare() -> Any:
    from torchvision.models import shufflenet_v2_x0_5

    return shufflenet_v2_x0_5().state_dict()


def _trained() -> Any:
    from mast_plugin.evaluation.network.recipe import complete
    from mast_plugin.host import load_host
    from mast_plugin.registration import register

    register()
    return {"state_dict": load_host().build(complete(arguments(), 1)).state_dict()}


def arguments() -> dict[str, Any]:
    """The configuration that lies beside a MAST run's checkpoint."""
    found = {key: value for key, value in recipe(".", "mast").items() if value is not None}
    return found | {"method_kwargs": {"proj_hidden_dim": 8, "proj_output_dim": 8}}


_NETWORKS = {"bare.pth": _bare, "trained.ckpt": _trained}
