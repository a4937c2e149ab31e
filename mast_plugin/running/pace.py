"""How long a training will take, said when its pace is known, and before that where it is known."""

import time
from types import ModuleType
from typing import Any

import torch

from mast_plugin.running.command import say
from mast_plugin.running.progress import duration

_MEASURED_STEP = 3
"""Of a session; the first step also builds what is built once."""
_LARGE_PX = 128
_SMALL_PX = 64


def pace_teller(engine: ModuleType) -> Any:
    """A callback that says, after the third step, how much time is left.

    A GPU is waited for after the first and the third step, and never again.

    Args:
        engine: whose ``Callback`` it is.
    """

    class PaceTeller(engine.Callback):  # type: ignore[misc, name-defined]
        def on_train_start(self, *_: Any) -> None:
            self.steps, self.start = 0, 0.0

        def on_train_batch_end(
            self, trainer: Any, module: Any, _: Any, __: Any, batch_idx: int
        ) -> None:
            self.steps += 1
            if self.steps not in (1, _MEASURED_STEP):
                return
            if module.device.type == "cuda":
                torch.cuda.synchronize(module.device)
            now = time.monotonic()
            if self.steps == 1:
                self.start = now
                return
            seconds = (now - self.start) / (_MEASURED_STEP - 1)
            left = _steps_left(trainer, batch_idx)
            if trainer.is_global_zero and left > 0:
                say(f"{duration(left * seconds)} left: steps of {seconds:.2g} s, {left:,} of them")

    return PaceTeller()


def _steps_left(trainer: Any, batch_idx: int) -> int:
    """Batches until the last epoch's end, or the last step that is asked for."""
    epochs = int(trainer.max_epochs) - int(trainer.current_epoch)
    left = int(trainer.num_training_batches) * epochs - (batch_idx + 1)
    if trainer.max_steps < 1:
        return left
    updates = int(trainer.max_steps) - int(trainer.global_step)
    return min(left, updates * int(trainer.accumulate_grad_batches))


def smaller_size_advised(device: torch.device, crop_size: int) -> str:
    """A line that names a smaller size where large views would be trained on a CPU; or none.

    Args:
        device: of the training.
        crop_size: side of the views in pixels.
    """
    if device.type != "cpu" or crop_size < _LARGE_PX:
        return ""
    times = round((crop_size / _SMALL_PX) ** 2)
    return (
        f"views of {crop_size} px on a CPU: with crop_size={_SMALL_PX} a step takes about a "
        f"{'quarter' if times == 4 else f'{times}th'} of the time"
    )
