"""Methods compared under one protocol: every run pretrained once, evaluated, set side by side."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from mast_plugin.comparison.countdown import Countdown
from mast_plugin.comparison.preparation import TABLED, Trials, checked, evaluation_of, planned
from mast_plugin.errors import DataError, DivergenceError
from mast_plugin.files.storage import full_disk_explained, write_whole
from mast_plugin.running.run import write_json
from mast_plugin.setting.configuration import plain

if TYPE_CHECKING:
    from mast_plugin.comparison.estimate import Comparison
    from mast_plugin.comparison.trial import Trial
    from mast_plugin.comparison.variant import Variant
    from mast_plugin.evaluation.evaluated import Evaluated

_KEPT = ("sha256", "configuration", "versions", "hardware")  # of a run's evaluation
Results = dict[tuple[str, int], "Evaluated"]
Search = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Compared:
    """What a comparison ends with.

    Attributes:
        folder: ``comparison.json``, ``comparison.csv`` and the runs.
        comparison: the table.
        costs: of each method, means over seeds: ``views``, ``minutes``, ``images_per_second``.
        search: of each method, the candidates that were tried, each with its ``options`` and its
            ``validation`` accuracy in % (``None`` where its training diverged); empty without one.
        trials: the runs, by method and seed.
        results: their evaluations; the one of ``ours`` with the first seed keeps its ``context``.
    """

    folder: Path
    comparison: "Comparison"
    costs: Mapping[str, Mapping[str, float]]
    search: "Search"
    trials: Trials = field(repr=False)
    results: "Results" = field(repr=False)

    def __str__(self) -> str:
        """The table, and where everything is."""
        from mast_plugin.comparison.estimate import as_text

        files = ", ".join(sorted(path.name for path in self.folder.iterdir()))
        return f"\n{as_text(self.comparison, self.costs)}\n\n{self.folder} holds {files}"


def compare(cfg: DictConfig) -> Compared:
    """Pretrain what is missing, evaluate everything, and write the comparison.

    Args:
        cfg: the keys of ``scripts/evaluate/compare.yaml``; it is left as it is. ``report`` is for
            :func:`mast_plugin.compare.compare_and_report`, nothing is drawn here.

    Raises:
        MASTError: anything that keeps a run from starting, before the first of them does; or a run
            that failed. What is finished is kept.
    """
    cfg, variants = checked(cfg)
    with full_disk_explained(Path(cfg.output)):
        return _compared(cfg, variants)


def _compared(cfg: DictConfig, variants: "list[Variant]") -> Compared:
    """The whole work, of options that are checked."""
    variants, search = _searched(cfg, variants)
    trials = planned(cfg, variants, plain(cfg.seeds))
    countdown = Countdown(trials.values())
    for trial in trials.values():
        countdown.pretrain(trial)
    shown = (cfg.ours, cfg.seeds[0])
    results = {}
    for key, trial in trials.items():
        result = trial.evaluate(evaluation_of(cfg))
        # The features of every run together would not fit into memory.
        results[key] = result if key == shown else replace(result, context=None)
    table = _table(cfg, results, cfg.metric)
    compared = Compared(Path(cfg.output), table, _costs(cfg, trials), search, trials, results)
    _write(cfg, compared, results)
    return compared


def _searched(cfg: DictConfig, variants: "list[Variant]") -> "tuple[list[Variant], Search]":
    """Give every variant the candidate that is best on a validation split, with the first seed."""
    from mast_plugin.comparison.variant import grid

    candidates = grid(plain(cfg.search or {}))
    if len(candidates) == 1:
        return [variant.changed(candidates[0]) for variant in variants], {}
    tried = [[variant.changed(candidate) for candidate in candidates] for variant in variants]
    plans = [[planned(cfg, [each], [cfg.seeds[0]]) for each in row] for row in tried]
    chosen, record = [], {}
    every = [trial for row in plans for trials in row for trial in trials.values()]
    countdown = Countdown(every, " of the search")
    for row, trials in zip(tried, plans, strict=True):
        scores = [_validated(cfg, next(iter(trial.values())), countdown) for trial in trials]
        best = max(range(len(row)), key=scores.__getitem__)
        listed = ", ".join(f"{score:.1f}" for score in scores)
        print(f"{row[best].name}: {candidates[best]} is the best in validation ({listed})")
        chosen.append(row[best])
        record[row[best].name] = [
            {"options": options, "validation": score if isfinite(score) else None}
            for options, score in zip(candidates, scores, strict=True)
        ]
    return chosen, record


def _validated(cfg: DictConfig, trial: "Trial", countdown: Countdown) -> float:
    """Mean over the tasks of the k-NN's accuracy on a validation split of the training images.

    A candidate whose training diverged comes last.
    """
    options = {"protocols": ["knn"], "subspaces": [], "output": str(trial.folder / "validation")}
    try:
        countdown.pretrain(trial)
        evaluated = trial.evaluate({**evaluation_of(cfg), **options})
    except (DataError, DivergenceError):  # of features that are not finite; the images were read
        return float("-inf")
    found = [
        row.chosen["validation_top1"]
        for row in evaluated.rows
        if row.space == "backbone" and row.metric == "top1"
    ]
    return sum(found) / len(found)


def _table(cfg: DictConfig, results: Results, protocol: str) -> "Comparison":
    from mast_plugin.comparison.estimate import compared, scores_of

    scores = {key: scores_of(result.rows, protocol) for key, result in results.items()}
    return compared(scores, plain(cfg.methods), plain(cfg.seeds), ours=cfg.ours, protocol=protocol)


def _costs(cfg: DictConfig, trials: Trials) -> dict[str, dict[str, float]]:
    costs: dict[str, dict[str, float]] = {}
    for method in cfg.methods:
        found = [cost for seed in cfg.seeds if (cost := trials[method, seed].cost)]
        if not found:
            costs[method] = {}
            continue
        seconds, images = (sum(cost[name] for cost in found) for name in ("seconds", "images"))
        costs[method] = {
            "views": found[0]["views"],
            "minutes": seconds / len(found) / 60,
            "images_per_second": images / seconds,
        }
    return costs


def _write(cfg: DictConfig, compared: Compared, results: Results) -> None:
    measured = {protocol for result in results.values() for protocol in _protocols(result)}
    tables = {
        protocol: asdict(_table(cfg, results, protocol))
        for protocol in TABLED
        if protocol in measured
    }
    folder = compared.folder
    runs = [
        {"method": method, "seed": seed, **{key: result.header[key] for key in _KEPT}}
        for (method, seed), result in results.items()
    ]
    content = {"configuration": plain(cfg), "search": compared.search, "tables": tables}
    content |= {"costs": compared.costs, "runs": runs}
    write_json(folder / "comparison.json", content)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("method", "seed", "space", "protocol", "subject", "metric", "value"))
    for (method, seed), result in results.items():
        writer.writerows(
            (method, seed, row.space, row.protocol, row.subject, row.metric, row.value)
            for row in result.rows
        )
    write_whole(folder / "comparison.csv", text.getvalue())


def _protocols(result: "Evaluated") -> set[str]:
    return {row.protocol for row in result.rows if row.metric == "top1"}
