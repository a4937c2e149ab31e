"""The runs of a comparison, counted while they are done."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mast_plugin.running.progress import duration

if TYPE_CHECKING:
    from mast_plugin.comparison.trial import Trial


class Countdown:
    """Pretrains what is not finished, and says how much there is left.

    Args:
        trials: all that will be pretrained.
        of: what they are, for the line, such as ``" of the search"``.
    """

    def __init__(self, trials: "Collection[Trial]", of: str = "") -> None:
        self._trials, self._of = trials, of
        self._total = len(self._unfinished())

    def pretrain(self, trial: "Trial") -> None:
        """Run what is left of a trial's pretraining.

        Raises:
            MASTError: as of :meth:`Trial.pretrain`.
        """
        left = len(self._unfinished())
        # The time that the finished ones took stands for the others', an earlier session's as well.
        found = [float(t.cost["seconds"]) for t in self._trials if t.is_finished and t.cost]
        time = f", {duration(left * sum(found) / len(found))} left" if found else ""
        trial.pretrain(f"run {self._total - left + 1} of {self._total}{self._of}{time}")

    def _unfinished(self) -> "list[Trial]":
        return [trial for trial in self._trials if not trial.is_finished]
