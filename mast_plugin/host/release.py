"""solo-learn 1.0.2, the release on PyPI: keyword arguments, pytorch-lightning 1.x, ``encoder``."""

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
from torch import Tensor, nn

from mast_plugin.configuration import plain
from mast_plugin.host.checkpoint import complete
from mast_plugin.host.face import Transform
from mast_plugin.host.quiet import quiet_host

__all__ = ["METHODS", "Checkpointer", "Method", "engine"]

_PRECISION = {"32-true": 32, "16-mixed": 16, "bf16-mixed": "bf16", "64-true": 64}
_LARS_OPTIONS = {"eta": "eta_lars", "clip_lr": "grad_clip_lars"}


class _Schedule:
    """Mixin that gives the release what ``cfg`` promises: schedules by step, groups free of LARS.

    The release counts its schedules in epochs, so that a run of few epochs would spend a whole one
    of them at the warm-up's first rate.
    """

    cfg: DictConfig

    def configure_optimizers(self) -> Any:
        by_step = self.cfg.scheduler.interval == "step" and self.scheduler == "warmup_cosine"
        if not by_step:
            configured = super().configure_optimizers()  # type: ignore[misc]
            _respect_marks(configured[0][0] if isinstance(configured, tuple) else configured)
            return configured
        self.scheduler = "none"
        optimizer = super().configure_optimizers()  # type: ignore[misc]
        self.scheduler = "warmup_cosine"
        _respect_marks(optimizer)
        return [optimizer], [{"scheduler": self._cosine(optimizer), "interval": "step"}]

    def _cosine(self, optimizer: Any) -> Any:
        steps = int(self.trainer.estimated_stepping_batches)  # type: ignore[attr-defined]
        with quiet_host():
            schedule = LinearWarmupCosineAnnealingLR(
                optimizer,
                warmup_epochs=round(self.warmup_epochs * steps / self.max_epochs),
                max_epochs=steps,
                warmup_start_lr=self.warmup_start_lr if self.warmup_epochs > 0 else self.lr,
                eta_min=self.min_lr,
            )
        groups = self.learnable_params  # type: ignore[attr-defined]
        constant = [i for i, group in enumerate(groups) if group.get("static_lr")]
        if constant:
            rates = [self.lr] * len(constant)
            schedule.get_lr = partial(static_lr, schedule.get_lr, constant, rates)
        return schedule

    scheduler: str
    lr: float
    min_lr: float
    max_epochs: int
    warmup_epochs: float
    warmup_start_lr: float


class _Momentum:
    """Mixin for momentum methods, whose hook wants an argument that the engine no longer passes."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx, 0)  # type: ignore[misc]


def _respect_marks(optimizer: Any) -> None:
    """Let LARS leave alone the groups that :func:`unscaled` marked."""
    if not hasattr(optimizer, "update_p"):
        return
    scale = optimizer.update_p

    def scale_unmarked(parameter: Tensor, group: dict[str, Any], weight_decay: float) -> None:
        if not group.get("unscaled"):
            scale(parameter, group, weight_decay)

    optimizer.update_p = scale_unmarked


class Method(_Schedule, BaseMethod):  # type: ignore[misc]
    """The release's base method, built from ``cfg`` and with ``forward`` as the only forward."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(**_base_arguments(cfg))
        self.cfg = cfg

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
    adapted = type(cls.__name__, (*mixins, cls), {})
    model = adapted(**_base_arguments(cfg), **options)
    model.cfg = cfg
    return model


def backbone(model: Any) -> nn.Module:
    """Return the network that outlives pretraining."""
    network: nn.Module = model.encoder
    return network


def method_options(name: str) -> frozenset[str]:
    """Names of ``method_kwargs``: the method's own command-line options, without the base's."""
    shared = set(_defaults(BaseMomentumMethod))
    return frozenset(set(_defaults(METHODS[name])) - shared)


def _defaults(cls: type) -> dict[str, Any]:
    parser = ArgumentParser()
    cls.add_model_specific_args(parser)  # type: ignore[attr-defined]
    return vars(parser.parse_args(["--optimizer", "sgd"]))


def unscaled(group: dict[str, Any]) -> dict[str, Any]:
    """Mark a parameter group so that LARS takes its gradients as they are."""
    return {**group, "unscaled": True}


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
    optimizer, scheduler = cfg.optimizer, cfg.scheduler
    is_lars = optimizer.name == "lars"
    extra = dict(optimizer.kwargs)
    lars = {new: extra.pop(old) for old, new in _LARS_OPTIONS.items() if old in extra}
    return {
        "encoder": cfg.backbone.name,
        "backbone_args": {
            "cifar": cfg.data.dataset in ("cifar10", "cifar100"),
            **cfg.backbone.kwargs,
        },
        "num_classes": cfg.data.num_classes,
        "num_large_crops": cfg.data.num_large_crops,
        "num_small_crops": cfg.data.num_small_crops,
        "max_epochs": cfg.max_epochs,
        "accumulate_grad_batches": cfg.accumulate_grad_batches,
        "optimizer": "sgd" if is_lars else optimizer.name,
        "lars": is_lars,
        "exclude_bias_n_norm": bool(extra.pop("exclude_bias_n_norm", False)),
        "batch_size": optimizer.batch_size,
        "lr": optimizer.lr,
        "classifier_lr": optimizer.classifier_lr,
        "weight_decay": optimizer.weight_decay,
        "extra_optimizer_args": extra,
        "scheduler": scheduler.name,
        "lr_decay_steps": scheduler.lr_decay_steps,
        "min_lr": scheduler.min_lr,
        "warmup_start_lr": scheduler.warmup_start_lr,
        "warmup_epochs": scheduler.warmup_epochs,
        "knn_eval": cfg.knn_eval.enabled,
        "knn_k": cfg.knn_eval.k,
        **lars,
    }
