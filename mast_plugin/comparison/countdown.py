"""The runs of a comparison, counted while they are done."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from mast_plugin.running.progress import duration

if TYPE_CHECKING:
    from mast_plugin.comparison.cell import Cell


class Countdown:
    """Pretrains what is not finished, and says how much there is left.

    Args:
        cells: all that will be pretrained.
        of: what they are, for the line, such as ``" of the search"``.
    """

    def __init__(self, cells: "Collection[Cell]", of: str = "") -> None:
        self._cells, self._of = cells, of
        self._total = len(self._unfinished())

    def pretrain(self, cell: "Cell") -> None:
        """Run what is left of a cell's pretraining.

        Raises:
            MASTError: as of :meth:`Cell.pretrain`.
        """
        left = len(self._unfinished())
        # The time that the finished ones took stands for the others', an earlier session's as well.
        found = [float(c.cost["seconds"]) for c in self._cells if c.is_finished and c.cost]
        time = f", {duration(left * sum(found) / len(found))} left" if found else ""
        cell.pretrain(f"run {self._total - left + 1} of {self._total}{self._of}{time}")

    def _unfinished(self) -> "list[Cell]":
        return [cell for cell in self._cells if not cell.is_finished]
