"""The transfer study's tables in Markdown, from results/*.json alone.

python benchmarks/transfer/page.py [STAGE ...] [--results FOLDER]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.markdown import cell, head, row
from benchmarks.transfer import record, statistic
from mast_plugin.comparison.estimate import Estimate, estimate

HERE = Path(__file__).parent
MEASURES = ("linear", "knn", "few-shot-5", "few-shot-10")
OWN = ("linear", "knn", "10%", "1%")
Result = Mapping[str, Any]


def main() -> None:
    """Print every stage that has a record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    options = parser.parse_args()
    for path in sorted(options.results.glob("*.json")):
        if path.stem in options.stages or not options.stages:
            print("\n".join(stage(record.read(path))))


def stage(result: Result) -> list[str]:
    """One stage: a search, or tables for each measure and for the pretraining set itself."""
    done = [run for run in result["runs"] if "sets" in run]
    lines = [f"## {result['stage']}\n", f"Pretraining: {result['configuration']['pretraining']}.\n"]
    if lost := [f"{run['method']} {run['seed']}" for run in result["runs"] if "diverged" in run]:
        lines += [f"Diverged: {', '.join(lost)}.\n"]
    if "chosen" in result:
        return [*lines, *searched(result)]
    for measure in MEASURES:
        if done and all(measure in task for task in _tasks(done[0])):
            lines += [*compared(result, done, measure), "", *by_set(done, measure), ""]
    return [*lines, *own(done), "", *curve(done)]


def methods_of(runs: list[Result], measure: str) -> dict[str, dict[int, dict[str, float]]]:
    """Method to seed to set to accuracy; a set's is the mean over its tasks."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for run in runs:
        found.setdefault(run["method"], {})[run["seed"]] = _by_name(run["sets"], measure)
    return found


def compared(result: Result, runs: list[Result], measure: str) -> list[str]:
    """Means, ranks, and what each is ahead of the best baseline."""
    methods = methods_of(runs, measure)
    best = statistic.best_baseline(methods, result["baselines"])
    ranks = statistic.mean_ranks(methods)
    names = ["method", "seeds", "mean over sets", "mean rank"]
    lines = [
        f"{measure}, top-1 in %\n",
        *head([*names, f"minus {best or 'the best baseline'}", "sets won, p"]),
    ]
    for name, found in methods.items():
        cells = [name, str(len(found)), cell(statistic.mean_over_sets(found))]
        cells += [cell(ranks[name], decimals=2) if name in ranks else ""]
        gap = statistic.difference(found, methods[best]) if best not in (None, name) else None
        if best is None or gap is None:
            lines.append(row([*cells, "", ""]))
            continue
        won, decided, probability = statistic.sign_test(found, methods[best])
        cells += [cell(gap, marked=True), f"{won} of {decided}, {probability:.3f}"]
        lines.append(row(cells))
    return lines


def by_set(runs: list[Result], measure: str) -> list[str]:
    """Methods by sets."""
    methods = methods_of(runs, measure)
    sets = list(next(iter(next(iter(methods.values())).values())))
    lines = head([measure, *sets])
    for name, found in methods.items():
        cells = (cell(_over_seeds([run[each] for run in found.values()])) for each in sets)
        lines.append(row([name, *cells]))
    return lines


def own(runs: list[Result]) -> list[str]:
    """The pretraining set's own classes, the cost, and the validation."""
    lines = head(["own classes", *OWN, "validation", "minutes"])
    for name in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == name]
        columns = [[_mean_of(run["own"], each) for run in mine] for each in OWN]
        columns.append([run["validation"] for run in mine])
        cells = ["" if None in values else cell(_over_seeds(values)) for values in columns]
        cells.append(f"{fmean(run['minutes'] for run in mine):.1f}")
        lines.append(row([name, *cells]))
    return lines


def curve(runs: list[Result]) -> list[str]:
    """Accuracies over epochs, where checkpoints were kept."""
    lines = []
    for run in (run for run in runs if "epochs" in run):
        lines += [f"{run['method']}, seed {run['seed']}, linear over epochs\n"]
        lines += head(["epochs", "own classes", "mean over sets"])
        for epoch, found in run["epochs"].items():
            values = (
                _mean_of(found["own"], "linear"),
                fmean(_by_name(found["sets"], "linear").values()),
            )
            lines.append(row([epoch, *(f"{value:.1f}" for value in values)]))
    return [*lines, ""]


def searched(result: Result) -> list[str]:
    """What a search tried, and what it chose."""
    lines = head(["method", "tried", "validation", "minutes"])
    for run in result["runs"]:
        tried = ", ".join(f"{key} {value}" for key, value in run["options"].items())
        found = f"{run['validation']:.1f}" if "validation" in run else "diverged"
        lines.append(row([run["method"], tried, found, f"{run['minutes']:.1f}"]))
    chosen = (f"- {name}: {options}" for name, options in result["chosen"].items())
    return [*lines, "", "Chosen:\n", *chosen, ""]


def _tasks(run: Result) -> list[Mapping[str, float]]:
    return [task for tasks in run["sets"].values() for task in tasks.values()]


def _by_name(sets: Mapping[str, Any], measure: str) -> dict[str, float]:
    return {name: fmean(task[measure] for task in tasks.values()) for name, tasks in sets.items()}


def _mean_of(tasks: Mapping[str, Mapping[str, float]], measure: str) -> float | None:
    found = [task[measure] for task in tasks.values() if measure in task]
    return fmean(found) if found else None


def _over_seeds(values: list[Any]) -> Estimate:
    return estimate(values, (0.0, 1e6))


if __name__ == "__main__":
    main()
