"""The quality study's part of docs/benchmarks.md, and its plot, from results/*.json alone.

python benchmarks/quality/page.py
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plot import draw_strength

from mast_plugin.comparison.estimate import estimate
from mast_plugin.report.content import Estimate

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
PICTURE = DOCS / "images" / "quality-strength.png"
BEGIN, END = "<!-- quality study: written by benchmarks/quality/page.py -->", "<!-- end -->"
OWN_TASKS = ("class", "class-10%", "class-1%", "digit")  # the rest need other invariances
OTHERS = "mean of the others"
OURS = "mast"

Result = Mapping[str, Any]
Scores = dict[str, list[dict[str, float]]]
"""Method to its runs, by seed, each with task to accuracy in percent."""


def main() -> None:
    """Write the tables between the two marks."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("results/*"))}
    parts = [stage(name, result) for name, result in results.items() if "runs" in result]
    if {"cifar", "strength"} <= results.keys():
        draw_strength(results, accuracies, PICTURE)
        parts.append(f"![accuracy against strength](images/{PICTURE.name})\n\n")
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    content = f"{before}{BEGIN}\n\n{''.join(parts)}{END}{after}"
    PAGE.write_text(content, encoding="utf-8")


def stage(name: str, result: Result) -> str:
    """One stage: what was run, and a table for each protocol of the backbone."""
    cfg = result["configuration"]
    seeds, methods = (" ".join(map(str, cfg[key])) for key in ("seeds", "methods"))
    search = "" if cfg["search"] else " --no-search"
    command = f"study.py IMAGES WORK --stages {name} --seeds {seeds} --methods {methods}{search}"
    lines = [f"## Study: {name}\n", f"`{command}`; 95 % intervals over the seeds.\n"]
    for space, protocol in (("backbone", "linear"), ("backbone", "knn"), ("embedding", "linear")):
        scores = accuracies(result, space, protocol)
        lines += [f"{space.capitalize()}, {protocol}, top-1 in %:\n", *table(scores), ""]
        if space == "backbone" and OURS in scores and len(scores) > 1:
            lines += [f"{OURS} minus each, seed by seed{_legend(seeds)}:\n"]
            lines += [*table(lead(scores), marked=True), ""]
    return "\n".join([*lines, *searched(result), rates(result), "", ""])


def accuracies(result: Result, space: str, protocol: str) -> Scores:
    """Every run's accuracies in one space under one protocol, with the mean of the others."""
    found: Scores = {}
    prefix = f"{space} {protocol} "
    for run in result["runs"]:
        scores = {k.removeprefix(prefix): v for k, v in run["top1"].items() if k.startswith(prefix)}
        others = [value for task, value in scores.items() if task not in OWN_TASKS]
        own = {task: value for task, value in scores.items() if task in OWN_TASKS}
        rest = {task: value for task, value in scores.items() if task not in OWN_TASKS}
        mean = {OTHERS: sum(others) / len(others)}
        found.setdefault(run["method"], []).append({**own, **mean, **rest})
    return found


def table(scores: Scores, marked: bool = False) -> list[str]:
    """Methods by tasks, in Markdown; what differs from zero beyond its interval bold if marked."""
    tasks = list(next(iter(scores.values()))[0])
    head = ["method", *tasks]
    lines = [_row(head), _row(["---"] * len(head))]
    for method, runs in scores.items():
        cells = (_cell(estimate([run[task] for run in runs]), marked) for task in tasks)
        lines.append(_row([method, *cells]))
    return lines


def lead(scores: Scores) -> Scores:
    """How far our method is ahead of each other one, for every seed that both were run with."""
    return {
        method: [
            {task: ours[task] - theirs[task] for task in theirs if task in (OTHERS, *OWN_TASKS)}
            for ours, theirs in zip(scores[OURS], runs, strict=True)
        ]
        for method, runs in scores.items()
        if method != OURS
    }


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
    listed = []
    for method, cost in result["costs"].items():
        rate = next(
            run["configuration"]["optimizer"]["lr"]
            for run in result["runs"]
            if run["method"] == method
        )
        listed.append(f"{method} {rate:g} ({cost['minutes']:.1f} min)")
    return f"Learning rates, and minutes of a run beside other work: {', '.join(listed)}."


def _cell(found: Estimate, marked: bool) -> str:
    if found.high is None:
        return f"{found.mean:.1f}"
    margin = found.high - found.mean
    text = f"{found.mean:.1f} ± {margin:.1f}"
    return f"**{text}**" if marked and abs(found.mean) > margin else text


def _legend(seeds: str) -> str:
    return " (bold: the interval leaves out zero)" if " " in seeds else ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
