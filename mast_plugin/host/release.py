"""solo-learn 1.0.2, the release on PyPI: keyword arguments, pytorch-lightning 1.x, ``encoder``."""

import importlib
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as engine
import torch
from omegaconf import DictConfig
from pl_bolts.optimizers.lr_scheduler import LinearWarmupCosineAnnealingLR
from solo.methods import METHODS
from solo.methods.base import BaseMethod, BaseMomentumMethod, static_lr
from solo.methods.linear import LinearModel
from solo.utils.checkpointer import Checkpointer as _Checkpointer
from solo.utils.knn import WeightedKNNClassifier
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR

from mast_plugin.core.lars import LARS
from mast_plugin.host import memory
from mast_plugin.host.checkpoint import complete
from mast_plugin.host.face import Transform
from mast_plugin.host.momentum import complete_momentum_classifier
from mast_plugin.host.neighbour import nearest
from mast_plugin.host.quiet import quiet_host
from mast_plugin.setting.configuration import plain

__all__ = ["METHODS", "Checkpointer", "Method", "engine"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("distutils.util")  # which the release's DINO uses without importing it

_PRECISION = {"32-true": 32, "16-mixed": 16, "bf16-mixed": "bf16", "64-true": 64}
_OPTIMIZERS: Mapping[str, Any] = {
    "sgd": torch.optim.SGD,
    "lars": LARS,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class _Schedule:
    """Mixin that gives the release what ``cfg`` promises: schedules by step, LARS, weight decay.

    The release counts its schedules in epochs, so that a run of few epochs would spend a whole one
    of them at the warm-up's first rate. Its LARS scales gradients before they are there, and it
    decays biases like everything else.
    """

    cfg: DictConfig

    def configure_optimizers(self) -> Any:
        groups = self.learnable_params  # type: ignore[attr-defined]
        if self.cfg.optimizer.exclude_bias_n_norm_wd:
            groups = _decay_apart(groups)
        constant = [i for i, group in enumerate(groups) if group.get("static_lr")]
        optimizer = _OPTIMIZERS[self.cfg.optimizer.name](
            groups, lr=self.lr, weight_decay=self.weight_decay, **plain(self.cfg.optimizer.kwargs)
        )
        if self.scheduler == "none":
            return optimizer
        by_step = self.cfg.scheduler.interval == "step" and self.scheduler == "warmup_cosine"
        schedule: Any
        if self.scheduler == "step":
            schedule = MultiStepLR(optimizer, list(self.lr_decay_steps))
        else:
            schedule = self._cosine(optimizer, by_step=by_step)
        if constant:
            rates = [self.lr] * len(constant)
            schedule.get_lr = partial(static_lr, schedule.get_lr, constant, rates)
        return [optimizer], [{"scheduler": schedule, "interval": "step" if by_step else "epoch"}]

    def _cosine(self, optimizer: Any, *, by_step: bool) -> Any:
        length, warmup = self.max_epochs, self.warmup_epochs
        if by_step:
            length = int(self.trainer.estimated_stepping_batches)  # type: ignore[attr-defined]
            warmup = round(warmup * length / self.max_epochs)
        with quiet_host():
            return LinearWarmupCosineAnnealingLR(
                optimizer,
                warmup_epochs=warmup,
                max_epochs=length,
                warmup_start_lr=self.warmup_start_lr if self.warmup_epochs > 0 else self.lr,
                eta_min=self.min_lr,
            )

    scheduler: str
    lr_decay_steps: Sequence[int]
    weight_decay: float
    lr: float
    min_lr: float
    max_epochs: int
    warmup_epochs: float
    warmup_start_lr: float


class _Momentum:
    """Mixin for momentum methods, whose hook wants an argument that the engine no longer passes."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx, 0)  # type: ignore[misc]


class _Clipping:
    """Mixin for DINO, whose own ``clip_gradients`` has the name of a hook that the engine calls."""

    def clip_gradients(self, *given: Any, **of_engine: Any) -> None:
        if of_engine:
            hook: Any = engine.LightningModule.clip_gradients
            hook(self, *given, **of_engine)
        else:
            super().clip_gradients(*given)  # type: ignore[misc]


def _decay_apart(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of which the parameters of one dimension are not decayed, as on the main branch."""
    parted = []
    for group in groups:
        parameters = list(group["params"])
        flat = [each for each in parameters if each.ndim <= 1]
        parted.append({**group, "params": [each for each in parameters if each.ndim > 1]})
        name = {"name": f"{group['name']}_no_decay"} if "name" in group else {}
        parted.append({**group, **name, "params": flat, "weight_decay": 0.0})
    return [group for group in parted if group["params"]]


class Method(_Schedule, BaseMethod):  # type: ignore[misc]
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
    mixins: tuple[type, ...] = (_Schedule,)
    options = {name: _defaults(cls)[name] for name in method_options(cfg.method)}
    options |= plain(cfg.method_kwargs)
    if issubclass(cls, BaseMomentumMethod):
        mixins = (_Schedule, _Momentum)
        options |= {
            "base_tau_momentum": cfg.momentum.base_tau,
            "final_tau_momentum": cfg.momentum.final_tau,
            "momentum_classifier": cfg.momentum.classifier,
        }
    if cfg.method == "dino":
        mixins = (*mixins, _Clipping)
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
        "lars": False,  # see _Schedule
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
