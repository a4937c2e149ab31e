"""From a user's configuration to the resolved one that everything else reads.

The language is that of solo-learn's main branch. A resolved configuration is complete, checked and
never changed again; the one that the user gave is left as it is.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mast_plugin.check import LOADING_OPTIONS, refuse_loading, refuse_unprintable
from mast_plugin.errors import ConfigurationError, DataError, shown
from mast_plugin.files.document import first_line, refuse_boundless
from mast_plugin.option import check_all, defaults, rules
from mast_plugin.setting.backbone import fitted
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.entry import mark_as_ours
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.optimizer import completed
from mast_plugin.setting.pretraining_schema import TRAINER, Pretraining
from mast_plugin.setting.shipped import shipped_variants
from mast_plugin.setting.view_size import resized

_FREE_FORM = ("method_kwargs", "kwargs")
_STAGES = {"evaluate": Evaluation, "compare": Comparison, "embed": Embedding, "export": Export}
_CLOSED = ("backbone", "view", "epochs")
"""Sections of an evaluation whose keys are all known."""


def plain(node: Any) -> Any:
    """Return a configuration's node as plain lists and dictionaries, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def evaluation_options(cfg: DictConfig, name: str) -> dict[str, Any]:
    """Complete the options of a command from their declarations.

    Args:
        cfg: what was given; keys of Hydra's own are left out.
        name: ``evaluate``, ``compare``, ``embed`` or ``export``.

    Returns:
        Every option as plain values; a section that was given in part keeps its other defaults.

    Raises:
        ConfigurationError: an option that there is not, or one that is not what it must be.
    """
    options = defaults(_STAGES[name])
    if name == "compare":
        options["variants"] = shipped_variants()
    for key, value in _interpolated(cfg).items():
        if key not in options:
            raise ConfigurationError(
                f"{key} is not an option of mast-{name}; it knows {', '.join(sorted(options))}"
            )
        default = options[key]
        merges = isinstance(default, dict) and isinstance(value, dict)
        unknown = sorted(set(value) - set(default)) if merges and key in _CLOSED else []
        if unknown:
            raise ConfigurationError(
                f"{key}.{unknown[0]} is not an option of mast-{name}; {key} knows "
                f"{', '.join(sorted(default))}"
            )
        options[key] = {**default, **value} if merges else value
    check_all(options, rules(_STAGES[name]))
    if name not in ("embed", "export"):  # which write a file
        _refuse_file("output", options["output"])
    _refuse_missing(OmegaConf.create(options))
    given_kwargs = options.get("backbone", {}).get("kwargs", {})
    refuse_loading(given_kwargs, "backbone.kwargs", "checkpoint=PATH")
    return options


def _refuse_file(key: str, path: str | None) -> None:
    """Refuse a file, or what would lie inside of one, where a folder is written."""
    for place in (Path(path), *Path(path).parents) if path else ():
        if place.exists() and not place.is_dir():
            raise ConfigurationError(f"{key}={path} must be a folder, but {place} is a file")


def _refuse_missing(cfg: DictConfig) -> None:
    """Refuse ``???``, which OmegaConf would fail at wherever it is read."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        value = {"augmentations": "imagenet, or list your own in a file"}.get(missing[0], "VALUE")
        raise ConfigurationError(f"{missing[0]} is missing: give it as {missing[0]}={value}")


def resolve(cfg: DictConfig) -> DictConfig:
    """Complete and check everything that can be checked without solo-learn and without the data.

    Args:
        cfg: what Hydra composed.

    Returns:
        A copy with every default filled in; method options and rates are left as given.

    Raises:
        ConfigurationError: something is missing, unknown or impossible.
    """
    given = _interpolated(cfg)
    base = defaults(Pretraining)
    _refuse_unknown(given, base, "")
    check_all(given, {**rules(Pretraining), **TRAINER})
    given_kwargs = given.get("backbone", {}).get("kwargs", {})
    refuse_loading(given_kwargs, "backbone.kwargs", "init_from=PATH")
    complete = OmegaConf.merge(base, given)
    assert isinstance(complete, DictConfig)
    _refuse_missing(complete)
    # Written into the views, it is the same run as one whose recipe has them of that size.
    complete.augmentations = resized(plain(complete.augmentations), complete.pop("crop_size"))
    _refuse_file("checkpoint.dir", complete.checkpoint.dir)
    optimizer = complete.optimizer
    optimizer.kwargs = completed(optimizer.name, plain(optimizer.kwargs))
    scheduler = complete.scheduler
    if scheduler.name == "step" and scheduler.lr_decay_steps is None:
        raise ConfigurationError("scheduler.name=step needs scheduler.lr_decay_steps=[60,80]")
    if scheduler.warmup_epochs >= complete.max_epochs:
        # Both hosts' schedules divide by zero at the end of a warm-up as long as the run.
        scheduler.warmup_epochs = complete.max_epochs / 2
    complete.name = complete.name or f"{complete.method}-{complete.data.dataset}"
    mark_as_ours(complete)
    return complete


def with_crops(
    cfg: DictConfig, crop_sizes: Sequence[int], num_crops: Sequence[int], num_classes: int
) -> DictConfig:
    """Return a copy that says what follows from the views and the images.

    Args:
        cfg: resolved configuration.
        crop_sizes: in pixels, per block; views of the first block's size are the large ones.
        num_crops: views per block.
        num_classes: what the online classifier tells apart.

    Raises:
        ConfigurationError: the backbone cannot be had for views of these sizes.
    """
    copy = cfg.copy()
    large = [n for size, n in zip(crop_sizes, num_crops, strict=True) if size == crop_sizes[0]]
    copy.data.num_large_crops = sum(large)
    copy.data.num_small_crops = sum(num_crops) - sum(large)
    copy.data.num_classes = num_classes
    copy.backbone = fitted(plain(cfg.backbone), crop_sizes)
    return copy


def with_scaled_rates(cfg: DictConfig, num_processes: int) -> DictConfig:
    """Return a copy whose rates are multiplied by the global batch size over 256.

    This is the main branch's own script's rule (``solo/args/pretrain.py``): ``classifier_lr`` is
    multiplied only where ``data.val_path`` is given. The release's script never multiplies it.

    Args:
        cfg: resolved configuration; ``optimizer.batch_size`` is that of one process.
        num_processes: devices of all nodes together.
    """
    copy = cfg.copy()
    factor = cfg.optimizer.batch_size * num_processes / 256
    copy.optimizer.lr = cfg.optimizer.lr * factor
    if cfg.data.val_path is not None:
        copy.optimizer.classifier_lr = cfg.optimizer.classifier_lr * factor
    return copy


def refuse_unknown_options(cfg: DictConfig, options: Collection[str]) -> None:
    """Refuse ``method_kwargs`` that the built-in method ``cfg.method`` does not read.

    Raises:
        ConfigurationError: naming the key and what there is.
    """
    unknown = sorted(set(cfg.method_kwargs) - set(options))
    if unknown:
        raise ConfigurationError(
            f"method_kwargs.{unknown[0]} is not an option of {cfg.method}; its options are "
            f"{', '.join(sorted(options))}"
        )


def _interpolated(cfg: DictConfig) -> dict[str, Any]:
    """Plain values, complete but for Hydra's own."""
    try:
        container = OmegaConf.to_container(cfg, resolve=True)
        refuse_boundless(container)
    except DataError:
        raise
    except (OmegaConfBaseException, RecursionError, ValueError) as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise ConfigurationError(
            f"the configuration cannot be resolved: {first_line(error)}"
        ) from error
    if not isinstance(container, dict):
        raise ConfigurationError(f"a configuration is a section of keys, not {shown(container)}")
    given = {str(key): value for key, value in container.items() if key != "hydra"}
    refuse_unprintable(given)
    return given


def _refuse_unknown(given: dict[str, Any], known: dict[str, Any], prefix: str) -> None:
    allowed = set(known) | (set() if prefix else set(TRAINER))
    for key, value in given.items():
        path = f"{prefix}{key}"
        if key not in allowed:
            mend = "; give weights with init_from=PATH" if key in LOADING_OPTIONS else ""
            raise ConfigurationError(
                f"{path} is not a key of a configuration; {prefix.rstrip('.') or 'the top level'} "
                f"knows {', '.join(sorted(allowed))}{mend}"
            )
        section = known.get(key)
        if isinstance(section, dict) and key not in _FREE_FORM:
            if not isinstance(value, dict):
                raise ConfigurationError(f"{path} must be a section of keys, not {shown(value)}")
            _refuse_unknown(value, section, f"{path}.")
