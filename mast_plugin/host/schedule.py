"""Schedules of a run that goes on with another end, batch size or number of images.

Both hosts count a schedule in steps or epochs of the run that began it, and both engines restore it
as it was. Here it is stretched to the end of the run that goes on: from the rate of the checkpoint
it falls to the new end, along the rest of the curve that a run of that length has. Where the rate
has come down to nothing, it takes the place on that curve itself. It never climbs again. Source:
this project's choice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig

from mast_plugin.errors import ConfigurationError
from mast_plugin.host.quiet import quiet_host
from mast_plugin.running.command import say
from mast_plugin.setting.explanation import explained

_MARKS = {"warmup_cosine": "max_epochs", "step": "milestones"}
"""What the state of each kind of schedule holds and no other."""
_CURVE = ("max_epochs", "warmup_epochs", "warmup_start_lr", "eta_min", "base_lrs")
_ENDED = 0.01
"""The share of its height at which a schedule counts as over; this project's choice."""


def refuse_misfit(checkpoint: Mapping[str, Any], path: Path, cfg: DictConfig) -> None:
    """Refuse to go on from a checkpoint whose schedule leaves nothing to go on with.

    Args:
        checkpoint: as of :func:`~mast_plugin.running.resumption.read_checkpoint`.
        path: its place, for messages.
        cfg: resolved configuration of the run that goes on.

    Raises:
        ConfigurationError: all epochs are trained; the schedule is of another kind, or damaged.
    """
    done = checkpoint["epoch"] + 1  # it is saved at an epoch's end
    if done >= cfg.max_epochs and cfg.resume_from_checkpoint is not None:
        raise ConfigurationError(
            f"{path} has {done} trained epochs, and max_epochs={cfg.max_epochs} leaves none: "
            f"give a larger max_epochs, or leave resume_from_checkpoint out to train anew"
        )
    states = checkpoint["lr_schedulers"]
    state = states[0] if states and isinstance(states[0], Mapping) else {}
    kind = next((name for name, mark in _MARKS.items() if mark in state), "none")
    if kind != cfg.scheduler.name:
        raise ConfigurationError(
            f"{path} was trained with scheduler.name={kind}, and no run can go on from it with "
            f"{cfg.scheduler.name}: give scheduler.name={kind}"
        )
    if kind == "warmup_cosine":
        what = f"no run can go on from {path}, whose schedule is damaged"
        with explained(what, "give another one"):
            _left(state)


def _left(state: Mapping[str, Any]) -> float:
    """The share of its height that a cosine is at; 1 while it is warming up."""
    if state["last_epoch"] <= state["warmup_epochs"]:
        return 1.0
    low = state["eta_min"]
    pairs = zip(state["_last_lr"], state["base_lrs"], strict=True)
    # Of all groups the least, as some hold a rate of their own that stays.
    return min(((rate - low) / (high - low) for rate, high in pairs if high > low), default=1.0)


def stretching(engine: ModuleType) -> Any:
    """A callback that stretches what was restored of the schedules to the run's own end.

    A run that goes on as it was is left alone, to the last bit.

    Args:
        engine: whose ``Callback`` it is.
    """

    class Stretching(engine.Callback):  # type: ignore[misc, name-defined]
        def on_train_start(self, trainer: Any, module: Any) -> None:
            if not trainer.ckpt_path or trainer.max_steps > 0:
                return
            with quiet_host():
                fresh = _schedules(module.configure_optimizers())
            epoch = trainer.current_epoch
            steps_per_epoch = trainer.estimated_stepping_batches / trainer.max_epochs
            changed = [
                _stretch(
                    config.scheduler,
                    schedule,
                    round(epoch * (steps_per_epoch if config.interval == "step" else 1)),
                )
                for config, schedule in zip(trainer.lr_scheduler_configs, fresh, strict=False)
            ]
            _shift_momentum(module, trainer.global_step, round(epoch * steps_per_epoch))
            if any(changed) and trainer.is_global_zero:
                rate = trainer.lr_scheduler_configs[0].scheduler.get_last_lr()[0]
                say(
                    f"the schedule of {trainer.ckpt_path} is stretched: from the rate {rate:.2g} "
                    f"after epoch {epoch} it goes on to the end of epoch {trainer.max_epochs}"
                )

    return Stretching()


def _schedules(configured: Any) -> Sequence[Any]:
    """The schedules among what ``configure_optimizers`` returned."""
    found = configured[1] if isinstance(configured, tuple) else []
    return [each["scheduler"] if isinstance(each, dict) else each for each in found]


def _stretch(restored: Any, fresh: Any, place: int) -> bool:
    """Give a schedule the course of one that begins anew, but for its height at this moment.

    Rates keep their share of the height, also where that is another one, by another batch size.

    Args:
        restored: what the engine steps.
        fresh: the same of this run's configuration, at its start.
        place: how far the run is, in the units of ``fresh``.

    Returns:
        Whether anything differs.
    """
    names = [name for name in (*_CURVE, "milestones") if hasattr(fresh, name)]
    if all(getattr(restored, name) == getattr(fresh, name) for name in names):
        return False
    groups, heights = restored.optimizer.param_groups, zip(
        fresh.base_lrs, restored.base_lrs, strict=True
    )  # fmt: skip
    warms_up = place < getattr(fresh, "warmup_epochs", 0)
    warms_up = warms_up and restored.last_epoch < restored.warmup_epochs
    if warms_up:
        fresh.last_epoch = place
        rates = fresh._get_closed_form_lr()
    elif hasattr(fresh, "warmup_epochs") and _left(vars(restored)) < _ENDED:
        fresh.last_epoch, fresh.warmup_epochs = place, min(fresh.warmup_epochs, place)
        rates = fresh._get_closed_form_lr()
    else:
        rates = [
            group["lr"] * (new / old if old else 1.0)
            for group, (new, old) in zip(groups, heights, strict=True)
        ]
    for name in names:
        setattr(restored, name, getattr(fresh, name))
    if not warms_up and hasattr(fresh, "warmup_epochs"):
        restored.warmup_epochs = min(fresh.warmup_epochs, place)  # it does not begin again
    restored.last_epoch, restored._last_lr = place, rates
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    return True


def _shift_momentum(module: Any, steps: int, place: int) -> None:
    """Let a momentum network's schedule count as if all epochs had been as long as these."""
    updater = getattr(module, "momentum_updater", None)
    if updater is None or steps == place or not steps:
        return
    update, shift = updater.update_tau, place - steps

    def shifted(cur_step: float, max_steps: float) -> None:
        now = module.trainer.global_step
        update(cur_step=cur_step * (now + shift) / now, max_steps=max_steps)

    updater.update_tau = shifted
