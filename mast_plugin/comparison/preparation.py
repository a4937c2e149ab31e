"""What a comparison is of: composed, read and checked before the first run of it starts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from mast_plugin.errors import ConfigurationError
from mast_plugin.setting.configuration import evaluation_options, plain

if TYPE_CHECKING:
    from mast_plugin.comparison.trial import Trial
    from mast_plugin.comparison.variant import Variant

TABLED = ("knn", "linear", "few-shot-5", "few-shot-10", "lightning-linear", "finetune-1%",
          "finetune-10%")  # fmt: skip
"""Protocols that give accuracies."""
Trials = dict[tuple[str, int], "Trial"]


def checked(cfg: DictConfig) -> "tuple[DictConfig, list[Variant]]":
    """Compose and read all that a comparison needs, so that a mistake costs no training.

    Args:
        cfg: as of :func:`compare`.

    Returns:
        The complete configuration, and what is compared; nothing is started or written.

    Raises:
        MASTError: an option, a recipe or the images cannot be used.
    """
    cfg = complete(cfg)
    variants = _variants(cfg)
    _check_images(cfg, planned(cfg, variants, plain(cfg.seeds)))
    return cfg, variants


def complete(cfg: DictConfig) -> DictConfig:
    """A copy with every default, refused where an option is unknown or the options disagree.

    Raises:
        ConfigurationError: naming the option.
    """
    from mast_plugin.comparison.variant import refuse_many
    from mast_plugin.evaluation.protocols.registry import PROTOCOLS

    cfg = OmegaConf.create(evaluation_options(cfg, "compare"))
    for key in ("methods", "seeds", "protocols"):
        if not cfg[key]:
            raise ConfigurationError(f"{key} is empty; name at least one")
    refuse_many(len(cfg.methods) * len(cfg.seeds), "methods with seeds")
    if len(set(cfg.methods)) < len(cfg.methods) or len(set(cfg.seeds)) < len(cfg.seeds):
        raise ConfigurationError("methods and seeds must each name everything once only")
    if unknown := sorted(set(cfg.protocols) - set(PROTOCOLS)):
        raise ConfigurationError(
            f"protocols names {unknown[0]!r}; there are {', '.join(PROTOCOLS)}"
        )
    # The few-shot protocol has a table for each number of images.
    measured = [n for n in TABLED if n in cfg.protocols or n.rpartition("-")[0] in cfg.protocols]
    if cfg.metric not in measured:
        raise ConfigurationError(
            f"metric is {cfg.metric!r}, which the protocols do not give; they give "
            f"{', '.join(measured) or 'no accuracy'}: change metric or protocols"
        )
    return cfg


def _variants(cfg: DictConfig) -> "list[Variant]":
    from mast_plugin.comparison.variant import read_variant

    overrides = plain(cfg.overrides or {})
    return [read_variant(name, plain(cfg.variants)).changed(overrides) for name in cfg.methods]


def planned(cfg: DictConfig, variants: "Sequence[Variant]", seeds: Sequence[int]) -> Trials:
    """Every variant with every seed, composed and checked.

    Raises:
        MASTError: a run's configuration cannot be had.
    """
    from mast_plugin.comparison.trial import Trial
    from mast_plugin.comparison.variant import recipe_folder

    recipes, output = recipe_folder(cfg.recipes), Path(cfg.output)
    return {
        (variant.name, seed): Trial.plan(variant, seed, recipes, output)
        for variant in variants
        for seed in seeds
    }


def _check_images(cfg: DictConfig, trials: Trials) -> None:
    """Refuse labelled images that the evaluation would refuse."""
    from mast_plugin.evaluation.labels.labelled_folder import read_labelled

    datasets = {str(cfg.dataset or trial.dataset or "") for trial in trials.values()}
    if "" in datasets:
        raise ConfigurationError(
            "dataset is missing, and the recipes name none: give dataset=FOLDER with labels.csv, "
            "or with folders train and val of a folder for every class"
        )
    for dataset in datasets:
        read_labelled(Path(dataset), evaluation_of(cfg)["tasks"])


def evaluation_of(cfg: DictConfig) -> dict[str, Any]:
    """The options with which every network of a comparison is evaluated."""
    return {
        "protocols": plain(cfg.protocols),
        "dataset": cfg.dataset,
        "tasks": plain(cfg.tasks) if cfg.tasks else None,
        "subspaces": plain(cfg.subspaces),
        "seed": cfg.evaluation_seed,
        "num_workers": cfg.num_workers,
        "device": cfg.device,
    }
