"""How a checkpoint's network was made: its configuration, in whichever form it was left.

Our runs and the main branch's script leave the main branch's ``cfg``; release 1.0.2's script leaves
a flat namespace, which is translated here as far as the network and its views need it.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mast_plugin.check import LOADING_OPTIONS
from mast_plugin.errors import ConfigurationError
from mast_plugin.files.document import first_line, read_document
from mast_plugin.loading.named import normalisation
from mast_plugin.option import defaults
from mast_plugin.setting.backbone import stem_of_dataset
from mast_plugin.setting.configuration import plain
from mast_plugin.setting.entry import mark_as_ours
from mast_plugin.setting.pretraining_schema import Pretraining
from mast_plugin.views.plan import Plan, pair_of, parse_views

Plain = dict[str, Any]

_JITTER = ("brightness", "contrast", "saturation", "hue")
_NOT_OPTIONS = ("method", "encoder", "backbone_args", "transform_kwargs", "extra_optimizer_args")


def stored_configuration(
    checkpoint: Path, inside: Mapping[str, Any] | None, config: Path | None
) -> Plain | None:
    """Find the configuration that a checkpoint was trained with.

    Args:
        checkpoint: the file; ``args.json`` is looked for beside it.
        inside: what the file itself holds.
        config: a .json or .yaml file that goes before both.

    Returns:
        The configuration in the main branch's language, or ``None`` where there is none.

    Raises:
        ConfigurationError: ``config`` or ``args.json`` cannot be read, or says nothing about a
            network.
    """
    beside = checkpoint.parent / "args.json"
    path = config or (beside if beside.is_file() else None)
    given: Any = inside if path is None else _read(path)
    if given is None:
        return None
    if isinstance(given, Mapping) and isinstance(given.get("backbone"), Mapping):
        return {str(key): value for key, value in given.items()}
    if isinstance(given, Mapping) and isinstance(given.get("encoder"), str):
        return _legible(given, path or checkpoint)
    if path is None:
        return None  # some other program's hyper-parameters
    raise ConfigurationError(
        f"{path} does not say which network it is about: it has neither backbone.name nor encoder; "
        "give config=PATH of the run's args.json, or the backbone's name"
    )


def complete(configuration: Mapping[str, Any], num_classes: int) -> DictConfig:
    """Fill in the defaults of everything that building a method asks for.

    Args:
        configuration: as :func:`stored_configuration` returns it; left as it is.
        num_classes: rows of the online classifier.

    Raises:
        ConfigurationError: a section has no keys where the language wants some.
    """
    try:
        cfg = OmegaConf.merge(defaults(Pretraining), dict(configuration))
        assert isinstance(cfg, DictConfig)
        if cfg.backbone.stem == "auto":  # decided where our own entry trains, not elsewhere
            cfg.backbone.stem = stem_of_dataset(cfg.data.dataset)
        cfg.data.num_classes = num_classes
        cfg.data.num_large_crops = cfg.data.num_large_crops or 2
        cfg.data.num_small_crops = cfg.data.num_small_crops or 0
        cfg.max_epochs = configuration.get("max_epochs") or 1
        # The weights come from the checkpoint; a builder would load what these name by itself.
        kept = {k: v for k, v in plain(cfg.backbone.kwargs).items() if k not in LOADING_OPTIONS}
        cfg.backbone.kwargs = kept
        mark_as_ours(cfg)  # nothing is trained here, so no script's habits apply
        return cfg
    except Exception as error:  # it is whatever somebody wrote beside the weights
        raise ConfigurationError(
            f"the checkpoint's configuration cannot be read: {first_line(error)}"
        ) from error


def view_plan(cfg: DictConfig) -> Plan:
    """Read the views that a network was trained on.

    Two views are a pair, made by two plans where they differ; otherwise the block with the most
    types counts.

    Args:
        cfg: as :func:`complete` returns it.

    Raises:
        ConfigurationError: no readable block of augmentations.
    """
    specs = parse_views(plain(cfg.augmentations), **normalisation(cfg.data.dataset))
    if sum(spec.num_crops for spec in specs) == 2:
        with suppress(ConfigurationError):  # of a method that compares views of different sizes
            return pair_of(specs[0].plan, specs[-1].plan)
    return max((spec.plan for spec in specs), key=lambda plan: len(plan.types))


def _read(path: Path) -> Any:
    try:
        return read_document(path)
    except ValueError as error:
        raise ConfigurationError(
            f"the configuration {path} cannot be read ({error}): "
            "give config=PATH of the run's args.json or of a .yaml file"
        ) from error


def _legible(flat: Mapping[str, Any], path: Path) -> Plain:
    try:
        return _translated(flat)
    except Exception as error:  # of a namespace that lacks what the release's script always writes
        raise ConfigurationError(
            f"the configuration of {path} cannot be read ({type(error).__name__}: "
            f"{first_line(error)}): give config=PATH of the run's args.json"
        ) from error


def _translated(flat: Mapping[str, Any]) -> Plain:
    """Translate a namespace of release 1.0.2's script.

    Which of its keys are the method's options only the method knows; all of them stay in
    ``method_kwargs``.
    """
    kwargs = dict(flat.get("backbone_args") or {})
    kwargs.pop("cifar", None)  # follows from the dataset
    configuration: Plain = {
        "name": flat.get("name"),
        "method": flat.get("method"),
        "backbone": {"name": flat["encoder"], "kwargs": kwargs},
        "data": {
            "dataset": flat.get("dataset") or "custom",
            "num_large_crops": flat.get("num_large_crops"),
            "num_small_crops": flat.get("num_small_crops"),
        },
        "max_epochs": flat.get("max_epochs"),
        "method_kwargs": {str(key): flat[key] for key in flat if key not in _NOT_OPTIONS},
        "momentum": {
            "base_tau": flat.get("base_tau_momentum", 0.99),
            "final_tau": flat.get("final_tau_momentum", 1.0),
            "classifier": bool(flat.get("momentum_classifier", False)),
        },
    }
    views = flat.get("transform_kwargs")
    if views:
        blocks = views if isinstance(views, list) else [views]
        configuration["augmentations"] = [_translated_block(block) for block in blocks]
    return configuration


def _translated_block(view: Mapping[str, Any]) -> Plain:
    block: Plain = {
        "crop_size": view["crop_size"],
        "num_crops": 1,
        "crop": {"min_scale": view["min_scale"], "max_scale": view["max_scale"]},
        "color_jitter": {
            "prob": view["color_jitter_prob"],
            **{part: view[part] for part in _JITTER},
        },
        "grayscale": {"prob": view["gray_scale_prob"]},
        "gaussian_blur": {"prob": view["gaussian_prob"]},
        "solarization": {"prob": view["solarization_prob"]},
        "horizontal_flip": {"prob": view["horizontal_flip_prob"]},
    }
    return block | {key: view[key] for key in ("mean", "std") if view.get(key)}
