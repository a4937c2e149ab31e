"""What the release lacks while it trains: schedules by step, LARS, momentum, clipping."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as engine
import torch
from omegaconf import DictConfig
from pl_bolts.optimizers.lr_scheduler import LinearWarmupCosineAnnealingLR
from solo.methods.base import static_lr
from torch.optim.lr_scheduler import MultiStepLR

from mast_plugin.core.lars import LARS
from mast_plugin.host.quiet import quiet_host
from mast_plugin.setting.configuration import plain

_OPTIMIZERS: Mapping[str, Any] = {
    "sgd": torch.optim.SGD,
    "lars": LARS,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


class Schedule:
    """Mixin that gives the release what ``cfg`` promises: schedules by step, LARS, weight decay.

    The release counts its schedules in epochs, so that a run of few epochs would spend a whole one
    of them at the warm-up's first rate. Its LARS scales gradients before they are there, and it
    decays biases like everything else.
    """

    cfg: DictConfig

    def configure_optimizers(self) -> Any:
        """The optimizer, with its schedule where there is one, as the engine takes them."""
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


class Momentum:
    """Mixin for momentum methods, whose hook wants an argument that the engine no longer passes."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the momentum network."""
        super().on_train_batch_end(outputs, batch, batch_idx, 0)  # type: ignore[misc]


class Clipping:
    """Mixin for DINO, whose own ``clip_gradients`` has the name of a hook that the engine calls."""

    def clip_gradients(self, *given: Any, **of_engine: Any) -> None:
        """Clip as the engine is told to."""
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
