"""What a pretraining run ends with, as it is printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast_plugin.pretraining.collapse import SPREAD, SPREAD_NOTE


@dataclass(frozen=True)
class Pretrained:
    """What a run ends with.

    Attributes:
        folder: checkpoints, ``metrics.csv``, ``args.json``; where tasks were scored,
            ``evaluation.json``; of MAST, ``routes.png``.
        comparison: scores of the network before and after, or ``None`` without tasks.
        metrics: what the run logged last, by name.
        found_finished: an earlier session had done all of it, and nothing was changed.
        began_as: what the network was before: ``untrained``, or the weights of ``init_from``.
    """

    folder: Path
    comparison: Any
    metrics: dict[str, float]
    found_finished: bool = False
    began_as: str = "untrained"

    def __str__(self) -> str:
        """The short table, and where everything is."""
        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        if self.found_finished:
            scores = "This run is finished: there was nothing to do, and nothing was changed.\n"
        elif self.comparison is not None:
            scores = f"Accuracy in %\n{self.comparison.text(self.began_as)}\n"
        else:
            names = ("val_", "train_acc1", *SPREAD)
            shown = {k: v for k, v in _each_once(self.metrics).items() if k.startswith(names)}
            scores = "".join(f"{name}: {value:.2f}\n" for name, value in shown.items())
            scores += SPREAD_NOTE if SPREAD[-1] in shown else ""
        return f"\n{scores}\n{self.folder} holds {files}"


def _each_once(metrics: dict[str, float]) -> dict[str, float]:
    """Without a metric's doubles: engines log one by step and by epoch under further names."""
    doubles = {f"{name}{kind}" for name in metrics for kind in ("_step", "_epoch")}
    return {name: value for name, value in metrics.items() if name not in doubles}
