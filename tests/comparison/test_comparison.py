"""What a comparison counts, chooses and writes, with evaluations that are made up."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from mast_plugin.comparison import compared as module
from mast_plugin.comparison.estimate import as_text, compared, estimate
from mast_plugin.comparison.preparation import evaluation_of
from mast_plugin.comparison.trial import Trial
from mast_plugin.comparison.variant import Variant
from mast_plugin.evaluation.evaluated import Evaluated
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import comparison_report
from mast_plugin.setting.configuration import evaluation_options

METHODS, SEEDS, PROTOCOLS = ("vicreg", "mast"), (3, 4), ("knn", "linear")
KINDS = ("crop", "hue", "blur")
HEADER = {
    "dataset": "images",
    "num_train": 8,
    "num_test": 4,
    "protocols": list(PROTOCOLS),
    **{name: name for name in module._KEPT},
}


def number(method, seed, protocol, task):
    """Another one for each, below 100."""
    place = METHODS.index(method), SEEDS.index(seed), PROTOCOLS.index(protocol)
    return 10 + 40 * place[0] + 3 * place[1] ** 2 + 20 * place[2] + ("a", "b").index(task)


def invariance(method, seed, kind):
    return 0.1 + 0.4 * METHODS.index(method) + 0.05 * SEEDS.index(seed) + 0.1 * KINDS.index(kind)


def rows_of(method, seed):
    return [
        *(
            Measurement("backbone", protocol, task, "top1", number(method, seed, protocol, task))
            for protocol in PROTOCOLS
            for task in ("a", "b")
        ),
        *(
            Measurement(
                "backbone", "invariance", kind, "invariance", invariance(method, seed, kind)
            )
            for kind in KINDS
        ),
        Measurement("embedding", "invariance", "crop", "invariance", 0.0),
    ]


def cfg_of(**changes):
    given = {"methods": list(METHODS), "seeds": list(SEEDS), "protocols": list(PROTOCOLS)}
    return OmegaConf.create(evaluation_options(OmegaConf.create({**given, **changes}), "compare"))


@pytest.fixture
def results():
    return {
        (method, seed): Evaluated(Path("nowhere"), HEADER, rows_of(method, seed))
        for method in METHODS
        for seed in SEEDS
    }


def test_seeds_are_paired_and_not_sorted():
    """Both methods have the same two accuracies: the difference of each seed is large."""
    scores = {("a", 0): 50.0, ("a", 1): 60.0, ("b", 0): 60.0, ("b", 1): 50.0}
    table = compared(
        {key: {"task": value} for key, value in scores.items()},
        ["a", "b"], [0, 1], ours="b", protocol="knn",
    )  # fmt: skip
    assert table.rows[0].difference == estimate([10.0, -10.0])
    assert table.rows[0].cells == (estimate([50.0, 60.0]), estimate([60.0, 50.0]))


def test_every_protocol_has_a_table_of_its_own_numbers(results, tmp_path):
    cfg = cfg_of()
    done = module.Compared(tmp_path, module._table(cfg, results, "linear"), {}, {}, {}, results)
    module._write(cfg, done, results)
    tables = json.loads((tmp_path / "comparison.json").read_text())["tables"]
    assert list(tables) == list(PROTOCOLS)
    for protocol, table in tables.items():
        assert table["metric"].startswith(protocol)
        for row in table["rows"][:2]:
            means = [cell["mean"] for cell in row["cells"]]
            assert means == [
                sum(number(method, seed, protocol, row["task"]) for seed in SEEDS) / 2
                for method in METHODS
            ]


def test_the_csv_has_every_number_under_its_columns(results, tmp_path):
    cfg = cfg_of()
    done = module.Compared(tmp_path, module._table(cfg, results, "linear"), {}, {}, {}, results)
    module._write(cfg, done, results)
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(result.rows) for result in results.values())
    for row in rows[: len(PROTOCOLS) * 2]:
        place = row["method"], int(row["seed"]), row["protocol"], row["subject"]
        assert float(row["value"]) == number(*place)
        assert (row["space"], row["metric"]) == ("backbone", "top1")


def test_costs_are_means_over_seeds_and_rates_over_all_seconds():
    spent = {3: {"seconds": 60.0, "images": 600.0}, 4: {"seconds": 180.0, "images": 600.0}}
    trials = {
        (method, seed): SimpleNamespace(cost={**cost, "views": 2} if method == "mast" else {})
        for method in METHODS
        for seed, cost in spent.items()
    }
    costs = module._costs(cfg_of(), trials)
    assert costs == {"vicreg": {}, "mast": {"views": 2, "minutes": 2.0, "images_per_second": 5.0}}
    table = compared(
        {(m, s): {"a": 1.0} for m in METHODS for s in SEEDS},
        METHODS, SEEDS, ours="mast", protocol="knn",
    )  # fmt: skip
    lines = {line.split()[0]: line.split()[1:] for line in as_text(table, costs).splitlines()}
    assert (lines["minutes"], lines["images/s"]) == (["2.0"], ["5.0"])


OPTIONS = {
    "protocols": ["knn"],
    "dataset": "images",
    "tasks": ["hue"],
    "subspaces": ["linear"],
    "num_workers": 5,
    "device": "cpu",
}


def test_every_network_is_evaluated_as_the_comparison_says():
    found = evaluation_of(cfg_of(**OPTIONS, evaluation_seed=6))
    assert found == {**OPTIONS, "seed": 6}


def test_a_dataset_that_is_given_goes_before_the_recipes_own(monkeypatch, tmp_path):
    monkeypatch.setattr("mast_plugin.comparison.trial.latest_checkpoint", lambda _: Path("a.ckpt"))
    monkeypatch.setattr("mast_plugin.comparison.trial.evaluate", lambda cfg: cfg)
    trial = Trial(Variant("mast", "mast", {}), 0, tmp_path, tmp_path, 1, "recipe's")
    assert trial.evaluate({"dataset": "given"}).dataset == "given"
    assert trial.evaluate({"dataset": None}).dataset == "recipe's"


def test_a_candidate_is_judged_by_its_validation_images(monkeypatch):
    """The test images of the same evaluation would say otherwise."""
    rows = [
        Measurement("backbone", "knn", "a", "top1", 90.0, chosen={"validation_top1": 30.0}),
        Measurement("backbone", "knn", "b", "top1", 80.0, chosen={"validation_top1": 50.0}),
        Measurement("backbone", "knn", "b", "top5", 99.0, chosen={"validation_top1": 50.0}),
        Measurement("embedding", "knn", "a", "top1", 95.0, chosen={"validation_top1": 95.0}),
    ]
    asked = []
    trial = SimpleNamespace(
        folder=Path("run"),
        is_finished=True,
        cost=None,
        pretrain=lambda _: None,
        evaluate=lambda options: asked.append(options) or Evaluated(Path("run"), HEADER, rows),
    )
    assert module._validated(cfg_of(), trial, module.Countdown([trial])) == 40.0
    assert asked[0]["protocols"] == ["knn"] and asked[0]["output"] == "run/validation"


def test_a_search_tries_every_candidate_with_the_first_seed_and_takes_the_best(monkeypatch):
    tried = []

    def planned(cfg, variants, seeds):
        return {
            (variant.name, seed): SimpleNamespace(variant=variant, seed=seed, is_finished=True)
            for variant in variants
            for seed in seeds
        }

    def validated(cfg, trial, countdown):
        rate = trial.variant.overrides["optimizer.lr"]
        tried.append((trial.variant.name, rate, trial.seed))
        return {1: 20.0, 2: 40.0, 3: 30.0}[rate]

    monkeypatch.setattr(module, "planned", planned)
    monkeypatch.setattr(module, "_validated", validated)
    cfg = cfg_of(search={"optimizer.lr": [1, 2, 3]})
    variants, search = module._searched(cfg, [Variant(name, name, {}) for name in METHODS])
    assert tried == [(name, rate, SEEDS[0]) for name in METHODS for rate in (1, 2, 3)]
    assert [(each.name, each.overrides) for each in variants] == [
        (name, {"optimizer.lr": 2}) for name in METHODS
    ]
    assert [each["validation"] for each in search["mast"]] == [20.0, 40.0, 30.0]


@pytest.mark.slow
def test_the_page_has_each_methods_costs_and_its_profile_with_the_first_seed(
    results, tmp_path, monkeypatch
):
    drawn = []
    draw = comparison_report.draw_radar
    monkeypatch.setattr(
        comparison_report,
        "draw_radar",
        lambda types, profiles, **options: (
            drawn.append((types, profiles)) or draw(types, profiles, **options)
        ),
    )
    trials = {
        key: SimpleNamespace(label=f"{key[0]}, seed {key[1]}", folder=tmp_path / key[0])
        for key in results
    }
    table = module._table(cfg_of(), results, "linear")
    costs = {"vicreg": {"views": 2.0, "minutes": 3.5, "images_per_second": 812.0}, "mast": {}}
    compared = module.Compared(tmp_path, table, costs, {}, trials, results)
    page = comparison_report.report_comparison(compared).read_text()
    ((types, profiles),) = drawn
    assert types == list(KINDS)
    assert profiles == {
        method: [invariance(method, SEEDS[0], kind) for kind in KINDS] for method in METHODS
    }
    taken = page[page.index("minutes of pretraining") :]
    assert taken.index(">2<") < taken.index(">3.5<") < taken.index(">812<")


def test_the_sections_of_one_run_are_named_after_it(results, tmp_path, monkeypatch):
    from mast_plugin.report.content import Section

    key = ("mast", 4)
    results[key] = replace(results[key], context=object())
    trials = {
        each: SimpleNamespace(label=f"{each[0]}, seed {each[1]}", folder=tmp_path / each[0])
        for each in results
    }
    reported = []

    def report_run(folder, evaluated):
        reported.append((folder, evaluated))
        return (Section("masks", "Masks", "", (), "none"),)

    monkeypatch.setattr(comparison_report, "report_run", report_run)
    compared = module.Compared(tmp_path, None, {}, {}, trials, results)
    (found,) = comparison_report._of_one_run(compared)
    assert found.title == "Masks (mast, seed 4)"
    assert reported == [(tmp_path / "mast", results[key])]
