"""Every shipped recipe, trained for some hundred steps on real images: does any of them fail?

    python benchmarks/recipes.py --images FOLDER [--recipes NAME ...] [--steps N]

Each recipe keeps its optimiser, its learning rate (the one that its own batch size and devices
give), its loss and its embedding's size. What a CPU demands is changed and printed: small views and
batches, a narrower projector, 32-bit numbers. The schedule is compressed so that the full rate is
reached; a warm-up takes a fifth of the steps. A run fails if anything is not finite or if the loss
does not fall; then the exit status is 1.
"""

import argparse
import csv
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from mast_plugin import errors, host
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.evaluation.protocols.labelfree import rankme
from mast_plugin.loading.image import is_image
from mast_plugin.pretrain import pretrain
from mast_plugin.registration import register_resolvers
from mast_plugin.setting.shipped import shipped_directory

RECIPES = {
    "digits": ".",
    **{n: n for n in ("cifar", "custom", "imagenet-100", "imagenet", "stl10")},
}
METHODS = ("mast", "vicreg", "simclr")
GLOBAL_BATCH = {"imagenet": 2048}  # eight devices; the others are for one
HIDDEN = 512  # at most, of the projector
EMBEDDED = 1000  # images whose embeddings are measured at the end
COLUMNS = (
    *("recipe", "method", "optimiser", "rate", "D"),
    *("start", "end", "std", "rankme", "seconds", "result"),
)
SHARE = 15  # loss at the start and at the end: means over this share of the steps


def main() -> int:
    """Print one row per run; returns how many failed, at most 1."""
    options = _options()
    warnings.simplefilter("ignore")
    register_resolvers()
    print(f"{host.load_host().engine.__name__}: {options.steps} steps of {options.batch} images")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    rows = [
        _row(recipe, method, options) for recipe in options.recipes for method in options.methods
    ]
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(any(row["result"] != "ok" for row in rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder for every class")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help="or mast15, of digits")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--size", type=int, default=32, help="of views; a CIFAR stem has half of it"
    )
    parser.add_argument("--set", nargs="+", default=[], help="options of the configuration")
    parser.add_argument("--output", type=Path, help="a JSON file for the rows")
    return parser.parse_args()


def _row(recipe: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        cfg = _configuration(recipe, method, options, folder)
        row: dict[str, Any] = {
            "recipe": recipe,
            "method": method,
            "optimiser": cfg.optimizer.name,
            "rate": round(cfg.optimizer.lr * options.batch / 256, 4),
            "D": cfg.method_kwargs.get("proj_output_dim", 0),
        }
        start = time.perf_counter()
        try:
            pretrain(cfg)
            row |= _measured(Path(folder), options) | {"result": "ok"}
            if not row["end"] < row["start"]:
                row["result"] = "the loss does not fall"
        except errors.MASTError as error:
            row["result"] = str(error).split(";")[0]
        row["seconds"] = round(time.perf_counter() - start)
    print("| " + " | ".join(str(row.get(name, "")) for name in COLUMNS) + " |", flush=True)
    return row


def _configuration(
    recipe: str, method: str, options: argparse.Namespace, folder: str
) -> DictConfig:
    with initialize_config_dir(str(shipped_directory() / RECIPES[recipe]), version_base="1.2"):
        given = compose(method, overrides=["data.train_path=unused"])
        epoch = (
            len([path for path in options.images.rglob("*") if is_image(path.name)])
            // options.batch
        )
        epochs = -(-options.steps // epoch)
        small = given.backbone.stem == "cifar"
        batch = GLOBAL_BATCH.get(recipe, given.optimizer.batch_size)
        changes = {
            "data.dataset": "custom",
            "backbone.stem": "cifar" if small else "imagenet",  # what views of the full size get
            "data.train_path": f'"{options.images.absolute()}"',
            "data.val_path": "null",
            "data.num_workers": 1,
            "data.check": "false",
            "evaluation.dataset": "null",
            "augmentations.0.crop_size": options.size // 2 if small else options.size,
            "method_kwargs.proj_hidden_dim": min(HIDDEN, given.method_kwargs.proj_hidden_dim),
            "optimizer.batch_size": options.batch,
            "optimizer.lr": given.optimizer.lr * batch / options.batch,
            "optimizer.classifier_lr": given.optimizer.classifier_lr * batch / options.batch,
            "scheduler.warmup_epochs": epochs / 5 if given.scheduler.warmup_epochs else 0,
            "max_epochs": epochs,
            "+max_steps": options.steps,
            "accelerator": "cpu",
            "devices": "'1'",
            "precision": "32-true",
            "sync_batchnorm": "false",
            "enable_progress_bar": "false",
            "log_every_n_steps": 1,
            "checkpoint.dir": folder,
        }
        overrides = [f"{key}={value}" for key, value in changes.items()]
        return compose(method, overrides=[*overrides, *options.set])


def _measured(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """The loss at both ends; the embeddings' standard deviation and RankMe at the last."""
    metrics = next(folder.rglob("metrics.csv"))
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = _losses(rows)
    share = max(1, len(losses) // SHARE)
    network = open_network(next(metrics.parent.glob("*.ckpt")))
    files = sorted(path for path in options.images.rglob("*") if is_image(path.name))
    chosen = files[:: max(1, len(files) // EMBEDDED)]
    assert network.projector is not None and network.crop_size and network.mean and network.std
    model = torch.nn.Sequential(network.backbone, network.projector)
    view = ViewStatistics(network.crop_size, network.mean, network.std).centred()
    embeddings = extract_features(model, chosen, view)
    return {
        "start": round(sum(losses[:share]) / share, 2),
        "end": round(sum(losses[-share:]) / share, 2),
        "std": round(float(embeddings.std(0).mean()), 3),
        "rankme": round(rankme(embeddings), 1),
    }


def _losses(rows: Sequence[dict[str, str]]) -> list[float]:
    names = [name for name in rows[0] if name.endswith(("_loss", "_loss_step", "/loss_step"))]
    own = [name for name in names if "class" not in name and not name.endswith("_loss_epoch")]
    name = next(name for name in own if any(row[name] for row in rows))
    return [float(row[name]) for row in rows if row[name]]


if __name__ == "__main__":
    sys.exit(main())
