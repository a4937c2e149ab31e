"""The quality study's part of docs/benchmarks.md, and its plot, from results/*.json alone.

python benchmarks/quality/page.py
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from plot import draw_strength
from scipy.stats import t

from benchmarks.markdown import cell, head, row
from mast_plugin.comparison.estimate import estimate
from mast_plugin.evaluation.interval import ACCURACY, DIFFERENCE, LEAST

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURE = DOCS / "images" / "quality-strength.png"
BEGIN, END = "<!-- quality study: written by benchmarks/quality/page.py -->", "<!-- end -->"
OWN_TASKS = ("class", "class-10%", "class-1%", "digit")  # the rest need other invariances
OTHERS = "mean of the other tasks"
OURS, NOISE = "mast", "noise"
REPEATED = "cifar"  # the stage whose seeds tell how far two runs of one seed may be apart

Result = Mapping[str, Any]
Scored = Mapping[str, float]
Runs = list[dict[str, float]]
Scores = dict[str, Runs]
"""Method to its runs, by seed, each with task to accuracy in percent."""


def main() -> None:
    """Write the tables between the two marks, and draw the plot beside them."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("results/*"))}
    staged = {name: result for name, result in results.items() if "runs" in result}
    repeated = staged.get(REPEATED)
    parts = [stage(name, result, repeated) for name, result in staged.items()]
    if {"cifar", "strength"} <= results.keys():
        draw_strength(results, accuracies, PICTURE)
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    content = f"{before}{BEGIN}\n\n{''.join(parts)}{END}{after}"
    PAGE.write_text(content, encoding="utf-8")


def stage(name: str, result: Result, repeated: Result | None) -> str:
    """One stage: what was run, and a table for each protocol of the backbone.

    Args:
        name: of the stage.
        result: what it found.
        repeated: another's, of several seeds, if it was run: what of one seed's is noise.
    """
    cfg = result["configuration"]
    seeds, methods = (" ".join(map(str, cfg[key])) for key in ("seeds", "methods"))
    search = "" if cfg["search"] else " --no-search"
    command = f"study.py IMAGES WORK --stages {name} --seeds {seeds} --methods {methods}{search}"
    intervals = "; 95 % intervals over the seeds" if len(cfg["seeds"]) >= LEAST else ""
    lines = [f"## Study: {name}\n", f"`{command}`{intervals}.\n"]
    for space, protocol in (("backbone", "linear"), ("backbone", "knn"), ("embedding", "linear")):
        scores = accuracies(result, space, protocol)
        lines += [f"{space.capitalize()}, {protocol}, top-1 in %:\n", *table(scores), ""]
        if space == "backbone" and rivals(scores):
            many = accuracies(repeated, space, protocol) if repeated else {}
            lines += led(scores, many, cfg)
    return "\n".join([*lines, *searched(result), rates(result), "", ""])


def accuracies(result: Result, space: str, protocol: str) -> Scores:
    """Every run's accuracies in one space under one protocol, with the mean of the other tasks."""
    found: Scores = {}
    prefix = f"{space} {protocol} "
    for run in result["runs"]:
        top1 = zip(result["measured"], run["top1"], strict=True)
        scores = {k.removeprefix(prefix): v for k, v in top1 if k.startswith(prefix)}
        own = {task: value for task, value in scores.items() if task in OWN_TASKS}
        rest = {task: value for task, value in scores.items() if task not in OWN_TASKS}
        mean = {OTHERS: fmean(rest.values())}
        found.setdefault(run["method"], []).append({**own, **mean, **rest})
    return found


def led(scores: Scores, repeated: Scores, cfg: Mapping[str, Any]) -> list[str]:
    """How far our method is ahead of its rivals, and what of that is not noise."""
    if len(cfg["seeds"]) > 1:
        heading = f"{OURS} minus each, seed by seed (bold: the interval leaves out zero):\n"
        return [heading, *table(lead(scores), marked=True, limits=DIFFERENCE), ""]
    many = [runs for runs in repeated.values() if len(runs) > 1]
    if not many or not cfg["recipes"]:  # on the embedded dataset seeds differ otherwise
        return [f"{OURS} minus each:\n", *table(lead(scores), limits=DIFFERENCE), ""]
    heading = (
        f"{OURS} minus each (bold: further than {NOISE}, what two seeds of one method stay within "
        f"in 19 of 20 cases, from the stage {REPEATED}):\n"
    )
    margins = noise(many)
    return [
        heading,
        *table({**lead(scores), NOISE: [margins]}, margins=margins, limits=DIFFERENCE),
        "",
    ]


def noise(many: Sequence[Runs]) -> dict[str, float]:
    """What the difference of two runs of one method exceeds once in twenty, by task.

    The variance over seeds is pooled over the methods, whose runs these are.
    """
    quantile = t.ppf(0.975, sum(len(runs) - 1 for runs in many))
    return {
        task: quantile * sqrt(2 * fmean(variance(run[task] for run in runs) for runs in many))
        for task in many[0][0]
        if task in (OTHERS, *OWN_TASKS)
    }


def table(
    scores: Scores,
    marked: bool = False,
    margins: Scored | None = None,
    limits: tuple[float, float] = ACCURACY,
) -> list[str]:
    """Methods by tasks, in Markdown.

    Args:
        scores: one row for each method.
        limits: of what it holds, accuracies or differences.
        marked: bold where the interval leaves out zero.
        margins: bold what is further from zero than its task's.
    """
    tasks = list(next(iter(scores.values()))[0])
    lines = head(["method", *tasks])
    for method, runs in scores.items():
        found = {task: estimate([run[task] for run in runs], limits) for task in tasks}
        cells = (cell(found[task], marked, (margins or {}).get(task)) for task in tasks)
        lines.append(row([method, *cells]))
    return lines


def lead(scores: Scores) -> Scores:
    """How far our method is ahead of each of its rivals, for every seed that both were run with."""
    return {
        method: [
            {task: mine[task] - theirs[task] for task in theirs if task in (OTHERS, *OWN_TASKS)}
            for mine, theirs in zip(scores[ours], scores[method], strict=True)
        ]
        for method, ours in rivals(scores).items()
    }


def rivals(methods: Iterable[str]) -> dict[str, str]:
    """What each other method is compared with: ours, or else ours at the same level."""
    names = list(methods)
    if OURS in names:
        return {name: OURS for name in names if name != OURS}
    levels = [name.removeprefix(OURS) for name in names if name.startswith(OURS)]
    others = [name for name in names if not name.startswith(OURS)]
    return {name: f"{OURS}{level}" for level in levels for name in others if name.endswith(level)}


def searched(result: Result) -> list[str]:
    """What a search tried, and what it found."""
    lines = []
    for method, candidates in result.get("search", {}).items():
        tried = ", ".join(
            f"{', '.join(f'{key} {value:g}' for key, value in each['options'].items())}: "
            + ("diverged" if each["validation"] is None else f"{each['validation']:.1f}")
            for each in candidates
        )
        lines.append(f"- {method}: {tried}")
    heading = "Search, mean k-NN accuracy over the tasks on a validation split, in %:\n"
    return [heading, *lines, ""] if lines else []


def rates(result: Result) -> str:
    """What differs between the methods' configurations, and the cost."""
    listed = [
        f"{method} {result['methods'][method]['optimizer']['lr']:g} ({cost['minutes']:.1f} min)"
        for method, cost in result["costs"].items()
    ]
    return f"Learning rates, and minutes of a run beside other work: {', '.join(listed)}."


if __name__ == "__main__":
    main()
