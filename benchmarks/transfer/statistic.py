"""What is said of methods on several sets with several seeds: means, ranks, signs."""

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from statistics import fmean

from scipy.stats import rankdata

from mast_plugin.comparison.estimate import Estimate, estimate
from mast_plugin.evaluation.interval import DIFFERENCE

Sets = Mapping[str, float]
"""Set to accuracy in %."""
Runs = Mapping[int, Sets]
"""Seed to its sets."""


def mean_over_sets(runs: Runs) -> Estimate:
    """The mean accuracy, with its interval over seeds."""
    return estimate([fmean(sets.values()) for sets in runs.values()])


def mean_ranks(methods: Mapping[str, Runs]) -> dict[str, Estimate]:
    """Every method's rank, 1 for the best, mean over sets; with its interval over seeds.

    Equally good ones share the mean of their ranks. Only seeds that every method has are looked at.

    Args:
        methods: with the same sets everywhere.
    """
    names = list(methods)
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in common_seeds(methods.values()):
        runs = [methods[name][seed] for name in names]
        ranks = [rankdata([-run[each] for run in runs]) for each in runs[0]]
        for place, name in enumerate(names):
            found[name].append(fmean(float(row[place]) for row in ranks))
    limits = (1.0, float(len(names)))
    return {name: estimate(values, limits) for name, values in found.items() if values}


def best_baseline(methods: Mapping[str, Runs], baselines: Sequence[str]) -> str | None:
    """The baseline with the highest mean over sets and seeds; ``None`` where none was run."""
    there = [name for name in baselines if name in methods]
    return max(there, key=lambda name: mean_over_sets(methods[name]).mean, default=None)


def difference(ours: Runs, theirs: Runs) -> Estimate | None:
    """Ours minus theirs, mean over sets, paired by seed; with its interval over seeds."""
    seeds = common_seeds([ours, theirs])
    values = [fmean(ours[s].values()) - fmean(theirs[s].values()) for s in seeds]
    return estimate(values, DIFFERENCE) if values else None


def sign_test(ours: Runs, theirs: Runs) -> tuple[int, int, float]:
    """On how many sets ours is ahead, by the mean over common seeds.

    Returns:
        The sets won, the sets that are not level, and the two-sided probability of a split that
        is as uneven, if either side were as likely.
    """
    seeds = common_seeds([ours, theirs])
    sets = ours[seeds[0]] if seeds else {}
    means = [fmean(ours[s][name] - theirs[s][name] for s in seeds) for name in sets]
    won, decided = sum(m > 0 for m in means), sum(m != 0 for m in means)
    tail = sum(comb(decided, k) for k in range(max(won, decided - won), decided + 1))
    return won, decided, min(1.0, 2 * tail / 2**decided)


def common_seeds(runs: Iterable[Runs]) -> list[int]:
    """Seeds that all of some runs have, ascending."""
    found = [set(each) for each in runs]
    return sorted(set.intersection(*found)) if found else []
