"""solo-learn 1.0.2, the release on PyPI: keyword arguments, pytorch-lightning 1.x, ``encoder``."""

import importlib
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as engine
import torch
from omegaconf import DictConfig
from solo.methods import METHODS
from solo.methods.base import BaseMethod, BaseMomentumMethod
from solo.methods.linear import LinearModel
from solo.utils.checkpointer import Checkpointer as _Checkpointer
from solo.utils.knn import WeightedKNNClassifier
from torch import Tensor, nn

from mast_plugin.host import memory
from mast_plugin.host.checkpoint import complete
from mast_plugin.host.face import Transform
from mast_plugin.host.momentum import complete_momentum_classifier
from mast_plugin.host.neighbour import nearest
from mast_plugin.host.release_training import Clipping, Momentum, Schedule
from mast_plugin.setting.configuration import plain

__all__ = ["METHODS", "Checkpointer", "Method", "engine"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("distutils.util")  # which the release's DINO uses without importing it

_PRECISION = {"32-true": 32, "16-mixed": 16, "bf16-mixed": "bf16", "64-true": 64}


class Method(Schedule, BaseMethod):  # type: ignore[misc]
    """The release's base method, built from ``cfg`` and with ``forward`` as the only forward."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(**_base_arguments(cfg))
        _finish(self, cfg)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return ``logits`` and ``feats``, as the main branch's base does."""
        outputs: dict[str, Tensor] = super().base_forward(images)
        return outputs

    def base_forward(self, images: Tensor) -> dict[str, Tensor]:
        """Send the shared step through ``forward``, where subclasses add their outputs."""
        outputs: dict[str, Tensor] = self(images)
        return outputs


class Checkpointer(complete(_Checkpointer)):  # type: ignore[misc]
    """The release's checkpoint callback, which wants a namespace instead of ``cfg``."""

    def __init__(self, cfg: DictConfig, logdir: str, frequency: int, keep_prev: bool) -> None:
        super().__init__(Namespace(**plain(cfg)), logdir, frequency, keep_prev)


def build(cfg: DictConfig) -> Any:
    """Build the method ``cfg.method``: ours from ``cfg``, a built-in one from its translation."""
    cls = METHODS[cfg.method]
    if issubclass(cls, Method):
        return cls(cfg)
    mixins: tuple[type, ...] = (Schedule,)
    options = {name: _defaults(cls)[name] for name in method_options(cfg.method)}
    options |= plain(cfg.method_kwargs)
    if issubclass(cls, BaseMomentumMethod):
        mixins = (Schedule, Momentum)
        options |= {
            "base_tau_momentum": cfg.momentum.base_tau,
            "final_tau_momentum": cfg.momentum.final_tau,
            "momentum_classifier": cfg.momentum.classifier,
        }
    if cfg.method == "dino":
        mixins = (*mixins, Clipping)
    if cfg.method in memory.METHODS:
        mixins = (*mixins, memory.LateMemory)
    adapted = type(cls.__name__, (*mixins, cls), {})
    model = adapted(**_base_arguments(cfg), **options)
    _finish(model, cfg)
    return model


def _finish(model: Any, cfg: DictConfig) -> None:
    """Give a method what the release has no argument for."""
    model.cfg = cfg
    complete_momentum_classifier(model)
    if model.knn_eval:
        model.knn = nearest(WeightedKNNClassifier, cfg.knn_eval)


def backbone(model: Any) -> nn.Module:
    """Return the network that outlives pretraining."""
    network: nn.Module = model.encoder
    return network


def momentum_backbone(model: Any) -> nn.Module | None:
    """Return the backbone's copy of a method with momentum."""
    network: nn.Module | None = getattr(model, "momentum_encoder", None)
    return network


def method_options(name: str) -> frozenset[str]:
    """Names of ``method_kwargs``: the method's own command-line options, without the base's."""
    shared = set(_defaults(BaseMomentumMethod))
    return frozenset(set(_defaults(METHODS[name])) - shared)


def _defaults(cls: type) -> dict[str, Any]:
    parser = ArgumentParser()
    cls.add_model_specific_args(parser)  # type: ignore[attr-defined]
    return vars(parser.parse_args(["--optimizer", "sgd"]))


def trainer_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translate Lightning 2's names: precisions, ``auto`` strategy."""
    known = engine.Trainer.default_attributes()
    translated = {name: value for name, value in options.items() if name in known}
    translated.pop("resume_from_checkpoint", None)  # Lightning 1's, deprecated: fit() is told
    precision = translated.get("precision", 32)
    translated["precision"] = _PRECISION.get(str(precision), precision)
    if translated.get("strategy") in ("auto", "ddp"):
        several = _count(translated.get("devices")) > 1
        translated["strategy"] = "ddp_find_unused_parameters_false" if several else None
    return translated


def _count(devices: Any) -> int:
    """Number of devices that a Trainer option asks for; ``auto`` is every GPU, or the one CPU."""
    if devices in ("auto", "-1", -1):
        return max(1, torch.cuda.device_count())
    if isinstance(devices, str):
        return len(devices.split(",")) if "," in devices else int(devices)
    return devices if isinstance(devices, int) else len(devices)


def foreign_transforms(trainer: Any, training: Transform, validation: Transform) -> None:
    """Do nothing: the release ships no script that could build loaders."""


def complete_views(cfg: DictConfig) -> None:
    """Do nothing: the release ships no script that reads view blocks."""


def linear_model(
    backbone: nn.Module, *, weight_decay: float, lr_decay_epochs: Sequence[int], **options: Any
) -> Any:
    """Build the release's linear evaluation; its other options have the face's names."""
    return LinearModel(
        backbone,
        optimizer="sgd",
        lars=False,
        weight_decay=weight_decay,
        exclude_bias_n_norm=False,
        extra_optimizer_args={"momentum": 0.9},
        scheduler="step",
        lr_decay_steps=list(lr_decay_epochs),
        **options,
    )


def _base_arguments(cfg: DictConfig) -> dict[str, Any]:
    """Translate ``cfg`` to the keyword arguments of the release's base method."""
    optimizer, scheduler, backbone = cfg.optimizer, cfg.scheduler, cfg.backbone
    kwargs = plain(backbone.kwargs)
    if backbone.name.startswith("swin"):
        # The release's own habit, which checkpoints that name no window were built by.
        kwargs.setdefault("window_size", 4 if backbone.stem == "cifar" else 7)
    return {
        "encoder": backbone.name,
        "backbone_args": {
            **kwargs,
            "cifar": backbone.name.startswith("resnet") and backbone.stem == "cifar",
        },
        "num_classes": cfg.data.num_classes,
        "num_large_crops": cfg.data.num_large_crops,
        "num_small_crops": cfg.data.num_small_crops,
        "max_epochs": cfg.max_epochs,
        "accumulate_grad_batches": cfg.accumulate_grad_batches,
        "optimizer": optimizer.name,
        "lars": False,  # see Schedule
        "exclude_bias_n_norm": False,
        "batch_size": optimizer.batch_size,
        "lr": optimizer.lr,
        "classifier_lr": optimizer.classifier_lr,
        "weight_decay": optimizer.weight_decay,
        "extra_optimizer_args": plain(optimizer.kwargs),
        "scheduler": scheduler.name,
        "lr_decay_steps": scheduler.lr_decay_steps,
        "min_lr": scheduler.min_lr,
        "warmup_start_lr": scheduler.warmup_start_lr,
        "warmup_epochs": scheduler.warmup_epochs,
        "knn_eval": cfg.knn_eval.enabled,
        "knn_k": cfg.knn_eval.k,
    }
