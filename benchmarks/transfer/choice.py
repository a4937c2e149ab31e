"""The search: one option at a time, each scored on held-out images of the pretraining set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Options = dict[str, Any]


def choose(grid: Mapping[str, Sequence[Any]], score: Callable[[Options], float]) -> Options:
    """Vary one option after the other, and keep the best value of each.

    Args:
        grid: option to the values to try, in the order of the search.
        score: of some options, higher is better; minus infinity for a run that diverged. It is
            asked once for every value, with what was chosen before.

    Returns:
        The best value of every option, the first of equally good ones.
    """
    chosen: Options = {}
    for option, values in grid.items():
        scores = [score({**chosen, option: value}) for value in values]
        chosen[option] = values[max(range(len(values)), key=scores.__getitem__)]
    return chosen
