"""solo-learn's main branch: OmegaConf ``cfg``, Lightning 2, ``backbone``."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning import pytorch as engine
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError
from solo.methods import METHODS
from solo.methods.base import BaseMethod
from solo.methods.linear import LinearModel
from solo.utils.checkpointer import Checkpointer as _Checkpointer
from solo.utils.knn import WeightedKNNClassifier
from torch import nn

from mast_plugin.core.lars import LARS
from mast_plugin.errors import ConfigurationError, HostError
from mast_plugin.host import memory
from mast_plugin.host.checkpoint import complete
from mast_plugin.host.face import Transform
from mast_plugin.host.momentum import complete_momentum_classifier
from mast_plugin.host.neighbour import nearest
from mast_plugin.host.quiet import quiet_host

__all__ = ["METHODS", "Checkpointer", "Method", "engine"]

Checkpointer = complete(_Checkpointer)


class Method(BaseMethod):  # type: ignore[misc]
    """The main branch's base method, finished as :func:`build` finishes the built-in ones."""

    def __init__(self, cfg: DictConfig) -> None:
        with _stem_by_name(cfg):
            super().__init__(cfg)
        _finish(self)


def build(cfg: DictConfig) -> Any:
    """Build the method ``cfg.method``; the host fills in the defaults of its options.

    Raises:
        ConfigurationError: an option that the method has no default for is missing.
    """
    cls = METHODS[cfg.method]
    if cfg.method in memory.METHODS:
        cls = type(cls.__name__, (memory.LateMemory, cls), {})
    try:
        with quiet_host(), _stem_by_name(cfg):
            model = cls(cfg)
    except ConfigAttributeError as error:
        raise ConfigurationError(
            f"{error.full_key} is missing: {cfg.method} has no default for it"
        ) from error
    _finish(model)
    return model


@contextmanager
def _stem_by_name(cfg: DictConfig) -> Iterator[None]:
    """Have the host build ``backbone.stem``: it asks for the dataset's name, and that alone."""
    stem, dataset = cfg.backbone.get("stem"), cfg.data.dataset
    if stem is not None:
        cfg.data.dataset = "cifar10" if stem == "cifar" else "custom"
    try:
        yield
    finally:
        cfg.data.dataset = dataset


def _finish(model: Any) -> None:
    """Give a method our LARS, which does not wait for the device, and a k-NN that normalises."""
    complete_momentum_classifier(model)
    model._OPTIMIZERS = {**model._OPTIMIZERS, "lars": LARS}
    if model.knn_eval:
        model.knn = nearest(WeightedKNNClassifier, model.cfg.knn_eval)


def backbone(model: Any) -> nn.Module:
    """Return the network that outlives pretraining."""
    network: nn.Module = model.backbone
    return network


def momentum_backbone(model: Any) -> nn.Module | None:
    """Return the backbone's copy of a method with momentum."""
    network: nn.Module | None = getattr(model, "momentum_backbone", None)
    return network


def method_options(name: str) -> frozenset[str]:
    """Names of ``method_kwargs`` that a built-in method reads.

    The host keeps no list of them, so they are read off its source: what is not mentioned there
    as ``method_kwargs.<name>`` has no effect.
    """
    classes = [cls for cls in METHODS[name].__mro__ if cls.__module__.startswith("solo.")]
    source = "\n".join(inspect.getsource(cls) for cls in classes)
    return frozenset(re.findall(r"method_kwargs\.(\w+)", source))


def trainer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as they are, but for those that this Lightning does not have."""
    known = inspect.signature(engine.Trainer.__init__).parameters
    return {name: value for name, value in options.items() if name in known}


def foreign_transforms(trainer: Any, training: Transform, validation: Transform) -> None:
    """Replace the transforms of both datasets where the host's own script built their loaders.

    Lightning makes the loaders' iterators, and with them the workers' copies of the datasets,
    before any hook that names the loaders publicly; hence the look at its loops' sources.
    """
    loop = trainer.fit_loop
    dataset = _dataset(loop)
    if dataset is None:
        raise HostError(
            "the training loader cannot be given MAST's routed views here: "
            "pretrain with this project's own main_pretrain.py or mast-pretrain"
        )
    if not isinstance(dataset.transform, type(training)):
        dataset.transform = training
    validated = _dataset(loop.epoch_loop.val_loop)
    if validated is not None:
        validated.transform = validation


def _dataset(loop: Any) -> Any:
    """The dataset that a loop loads from, if it has a transform."""
    loader = getattr(getattr(loop, "_data_source", None), "instance", None)
    dataset = getattr(loader, "dataset", None)
    return dataset if hasattr(dataset, "transform") else None


def complete_views(cfg: DictConfig) -> None:
    """Add to our view block what the host's own script reads of every block.

    Its transform is built from these keys and then replaced (see :func:`foreign_transforms`), so
    that it must not be the one that the script prints for ``debug_augmentations``.
    """
    inert = OmegaConf.create(
        {"rrc": {"enabled": False}}
        | {
            name: {"prob": 0.0}
            for name in (
                "color_jitter",
                "grayscale",
                "gaussian_blur",
                "solarization",
                "equalization",
                "horizontal_flip",
            )
        }
    )
    cfg.augmentations = [OmegaConf.merge(inert, block) for block in cfg.augmentations]
    cfg.debug_augmentations = False


def linear_model(
    backbone: nn.Module,
    *,
    num_classes: int,
    max_epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    lr_decay_epochs: Sequence[int],
) -> Any:
    """Build the main branch's linear evaluation."""
    cfg = OmegaConf.create(
        {
            "data": {"num_classes": num_classes},
            "max_epochs": max_epochs,
            "optimizer": {
                "name": "sgd",
                "batch_size": batch_size,
                "lr": lr,
                "weight_decay": weight_decay,
                "kwargs": {"momentum": 0.9},
            },
            # The step schedule counts epochs whatever the interval; "step" only earns a warning.
            "scheduler": {
                "name": "step",
                "lr_decay_steps": list(lr_decay_epochs),
                "interval": "epoch",
            },
        }
    )
    return LinearModel(backbone, cfg)
