"""Kinds of hostile configurations, up to where a run would start."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from . import material
from .case import Kind
from .damage import damaged, miswritten, mutated

Call = Callable[[], object]


def _configuration(tree: Any, rng: random.Random) -> Any:
    """The tree, mutated, as Hydra hands it over; what OmegaConf itself refuses never gets there."""
    while True:
        try:
            return OmegaConf.create(mutated(tree, rng))
        except (OmegaConfBaseException, ValueError, RecursionError):
            continue


def _pretraining(rng: random.Random) -> Call:
    from mast_plugin.pretraining.preparation import planned_run

    material.write_images(Path("images"))
    cfg = _configuration(material.any_recipe(rng), rng)
    return lambda: planned_run(cfg)


def _without_a_step(rng: random.Random) -> Call:
    """All of a pretraining but its steps: network, optimiser, loggers, the run's folder."""
    from mast_plugin.pretrain import pretrain

    material.write_images(Path("images"))
    cfg = _configuration(material.any_recipe(rng), rng)
    cfg.max_steps = 0
    return lambda: pretrain(cfg)


def _recipe_file(rng: random.Random) -> Call:
    from mast_plugin.comparison.variant import Variant, composed
    from mast_plugin.pretraining.preparation import planned_run

    material.write_images(Path("images"))
    text = f"defaults: [base, _self_]\n{OmegaConf.to_yaml(material.any_recipe(rng))}"
    Path("recipes").mkdir()
    if rng.random() < 0.7:
        Path("recipes/mine.yaml").write_text(miswritten(text, rng))
    else:
        Path("recipes/mine.yaml").write_bytes(damaged(text.encode(), rng))
    variant = Variant("mine", "mine", {"data.train_path": "images"})
    return lambda: planned_run(composed(variant, Path("recipes").absolute()))


def _evaluation(rng: random.Random) -> Call:
    from mast_plugin.evaluate import checked, evaluate
    from mast_plugin.setting.configuration import plain

    material.write_labelled(Path("labelled"), material.rows())
    material.link("bare.pth", Path("bare.pth"))
    options = _shipped("evaluate") | {
        "checkpoint": "bare.pth",
        "dataset": "labelled",
        "output": "out",
        "backbone": {"name": "shufflenet_v2_x0_5", "kwargs": {}},
        "view": {"crop_size": 32, "mean": None, "std": None},
    }
    cfg = _configuration(options, rng)

    def call() -> object:
        complete = plain(checked(cfg))
        # What a valid option may ask for in earnest is not asked for here: hours, or a thousand
        # processes.
        complete |= {"protocols": ["knn"], "num_workers": 0, "report": False, "device": "cpu"}
        return evaluate(OmegaConf.create(complete))

    return call


def _comparison(rng: random.Random) -> Call:
    from mast_plugin.comparison.preparation import checked

    material.write_images(Path("images"))
    material.write_labelled(Path("labelled"), material.rows())
    Path("recipes").mkdir()
    for name in ("mast", "vicreg"):
        text = f"defaults: [base, _self_]\n{OmegaConf.to_yaml(material.recipe('.', name))}"
        Path(f"recipes/{name}.yaml").write_text(text)
    options = _shipped("compare") | {
        "methods": ["vicreg", "mast"],
        "recipes": str(Path("recipes").absolute()),
        "dataset": "labelled",
        "output": "out",
        "search": {"optimizer.lr": [0.001, 0.004]},
        "overrides": {"max_epochs": 2},
    }
    cfg = _configuration(options, rng)
    return lambda: checked(cfg)


def _shipped(name: str) -> dict[str, Any]:
    from mast_plugin.setting.configuration import evaluation_options

    given = {"checkpoint": "bare.pth"} if name == "evaluate" else {}
    return evaluation_options(OmegaConf.create(given), name)


def _arguments(rng: random.Random) -> Call:
    """A run's args.json, which comes with its checkpoint from wherever that comes."""
    from mast_plugin.evaluation.network.opening import open_network

    material.link("trained.ckpt", Path("run.ckpt"))
    content = json.dumps(_printable(mutated(material.arguments(), rng))).encode()
    if rng.random() < 0.3:
        content = damaged(content, rng)
    Path("args.json").write_bytes(content)
    return lambda: open_network(Path("run.ckpt"))


def _printable(tree: Any) -> Any:
    """The tree without the integers that are too long for JSON's writer."""
    if isinstance(tree, dict):
        return {key: _printable(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_printable(value) for value in tree]
    return 10**300 if isinstance(tree, int) and abs(tree) > 10**300 else tree


KINDS = (
    Kind("pretraining configuration", 30, _pretraining),
    Kind("pretraining without steps", 1, _without_a_step),
    Kind("recipe file", 6, _recipe_file),
    Kind("evaluation options", 6, _evaluation),
    Kind("comparison options", 3, _comparison),
    Kind("args.json of a checkpoint", 2, _arguments),
)
