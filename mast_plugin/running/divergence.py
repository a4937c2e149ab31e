"""The watch over the loss: what is not finite stops the run before anything of it is saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mast_plugin.errors import DivergenceError

_MENDS = {
    "capacity": "method_kwargs.mask_lr",
    "uncertainty": "method_kwargs.uncertainty_lr",
    "online classifier": "optimizer.classifier_lr",
}


@dataclass(frozen=True)
class _Step:
    """The terms of one training step, scalars, on the device that computed them."""

    number: int
    epoch: int
    terms: Mapping[str, Tensor]


_WITHOUT_LOSS = (("deepclusterv2", 0),)
"""Methods and their epochs in which the loss is NaN by design: DeepClusterV2 has no clusters yet,
so its first epoch's loss is a mean over nothing, whose gradient is zero."""


def divergence_guard(engine: ModuleType, method: str = "") -> Any:
    """A callback that stops a run whose loss or weights are not finite.

    To look at a number is to wait for the GPU. So the terms of every step are only kept, and looked
    at together every ``log_every_n_steps``, when the engine's logging waits anyway, and after the
    last batch of an epoch, before it is validated or saved. The step that is named is the first
    bad one all the same. Weights are looked at before they may be saved: a last step can spoil
    them with a loss that still was finite.

    Args:
        engine: whose ``Callback`` it is; it must come before the one that saves.
        method: solo-learn's name of the method.
    """

    class DivergenceGuard(engine.Callback):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.steps: list[_Step] = []

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, _: Any, batch_idx: int
        ) -> None:
            if (method, trainer.current_epoch) in _WITHOUT_LOSS:
                return  # its weights are looked at all the same
            terms = getattr(module, "loss_terms", None) or {"total": outputs["loss"].detach()}
            self.steps.append(_Step(trainer.global_step, trainer.current_epoch, terms))
            done = batch_idx + 1
            if done % trainer.log_every_n_steps == 0 or done == trainer.num_training_batches:
                self._look(trainer)

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            self._look(trainer)  # an epoch may end before its last batch
            _stop_everywhere(trainer, _bad_weight(module, trainer))

        def _look(self, trainer: Any) -> None:
            steps, self.steps = self.steps, []
            _stop_everywhere(trainer, _first_bad_step(steps) if steps else None)

    return DivergenceGuard()


def _stop_everywhere(trainer: Any, found: str | None) -> None:
    """Stop all processes together, also those that have not met the bad number yet.

    Raises:
        DivergenceError: on every process, if any has found something.
    """
    if trainer.strategy.reduce_boolean_decision(found is not None, all=False):
        raise DivergenceError(
            found or f"the training of another process diverged in epoch {trainer.current_epoch}"
        )


def _first_bad_step(steps: list[_Step]) -> str | None:
    """Say which step was the first with a bad term, and which ones; one wait for the device."""
    values = torch.stack([term.float() for step in steps for term in step.terms.values()]).tolist()
    numbers = iter(values)
    for step in steps:
        row = {name: next(numbers) for name in step.terms}
        bad = {name: value for name, value in row.items() if value - value != 0}
        if bad:
            return _sentence(step, bad)
    return None


def _sentence(step: _Step, bad: dict[str, float]) -> str:
    parts = [name for name in bad if name != "total"] or list(bad)
    listed = ", ".join(f"{name} ({bad[name]})" for name in parts)
    mend = _MENDS.get(parts[0], "optimizer.lr")
    return (
        f"the loss is not finite at step {step.number} (epoch {step.epoch}): {listed}; lower {mend}"
    )


def _bad_weight(module: nn.Module, trainer: Any) -> str | None:
    """Name the first parameter with a number that is not finite; one wait for the device."""
    named = {name: parameter.detach() for name, parameter in module.named_parameters()}
    finite = torch.stack([weights.isfinite().all() for weights in named.values()]).tolist()
    for name, is_finite in zip(named, finite, strict=True):
        if not is_finite:
            return (
                f"weights of {name} are not finite after step {trainer.global_step} "
                f"(epoch {trainer.current_epoch}); lower optimizer.lr"
            )
    return None
