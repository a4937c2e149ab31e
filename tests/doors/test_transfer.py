"""The transfer study: its statistics, its search, and what study.yaml asks for."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from scipy.stats import binomtest, t

from benchmarks.transfer import measure, record, statistic
from benchmarks.transfer.choice import choose
from benchmarks.transfer.stage import HERE, Stage, read_study
from mast_plugin.comparison.variant import composed
from mast_plugin.core.mask import block_masks
from mast_plugin.core.options import MASTOptions
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.labels.labelled_folder import read_labelled
from mast_plugin.registration import register_resolvers

STUDY = read_study()
METHODS = {
    "a": {0: {"x": 50.0, "y": 30.0}, 1: {"x": 52.0, "y": 30.0}, 2: {"x": 54.0, "y": 33.0}},
    "b": {0: {"x": 48.0, "y": 30.0}, 1: {"x": 49.0, "y": 31.0}, 2: {"x": 53.0, "y": 30.0}},
    "c": {0: {"x": 40.0, "y": 20.0}, 1: {"x": 60.0, "y": 21.0}},
}


def stage(name, **changed):
    part = STUDY["stages"][name]
    given = {"precision": "32-true"}
    options = {"seeds": part["seeds"], "methods": part["methods"], "sets": STUDY["sets"]}
    return Stage(name, STUDY, Path("/data"), Path("/work"), given=given, **options | changed)


def everything_chosen():
    return {
        name: {key: each[-1] for key, each in grid.items()}
        for name, grid in STUDY["search"].items()
    }


# --- statistics ----------------------------------------------------------------------------------


def test_the_difference_is_paired_by_the_seeds_that_both_have():
    found = statistic.difference(METHODS["a"], METHODS["b"])
    values = [1.0, 1.0, 2.0]
    low, high = t.interval(0.95, 2, 4 / 3, math.sqrt(1 / 3) / math.sqrt(3))
    assert (found.mean, found.low, found.high) == pytest.approx((sum(values) / 3, low, high))
    assert statistic.difference(METHODS["a"], METHODS["c"]).mean == pytest.approx(
        ((40 - 30) + (41 - 40.5)) / 2
    )


def test_ranks_are_shared_where_accuracies_are_level():
    # Seed 0: x ranks 1, 2, 3, and y 1.5, 1.5, 3. Seed 1: x 2, 3, 1, and y 2, 1, 3.
    found = {name: each.mean for name, each in statistic.mean_ranks(METHODS).items()}
    assert found == pytest.approx({"a": (1.25 + 2) / 2, "b": (1.75 + 2) / 2, "c": (3 + 2) / 2})


@pytest.mark.parametrize("won", range(8))
def test_the_sign_test_is_the_exact_binomial_one(won):
    ours = {0: {str(k): 1.0 if k < won else -1.0 for k in range(7)} | {"level": 0.0}}
    theirs = {0: dict.fromkeys(ours[0], 0.0)}
    ahead, decided, probability = statistic.sign_test(ours, theirs)
    assert (ahead, decided) == (won, 7)
    assert probability == pytest.approx(binomtest(won, 7).pvalue)


def test_the_best_baseline_has_the_highest_mean_of_those_that_were_run():
    assert statistic.best_baseline(METHODS, ["b", "a", "z"]) == "a"
    assert statistic.best_baseline(METHODS, ["z"]) is None


# --- search --------------------------------------------------------------------------------------


def test_the_search_keeps_the_best_of_one_option_after_the_other():
    asked = []

    def score(options):
        asked.append(dict(options))
        if options.get("lr") == 3:
            return -math.inf
        return 10 * (options["lr"] == 2) + options.get("weight", 0) % 7

    chosen = choose({"lr": [1, 2, 3], "weight": [4, 8, 11]}, score)
    assert chosen == {"lr": 2, "weight": 4}  # the first of two that are as good
    assert asked[3:] == [{"lr": 2, "weight": each} for each in (4, 8, 11)]


# --- what is run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STUDY["stages"])
def test_every_run_of_a_stage_can_be_composed(name):
    register_resolvers()
    for method in STUDY["stages"][name]["methods"]:
        variant = stage(name, chosen=everything_chosen()).variant(method)
        cfg = composed(variant, HERE.parent / STUDY["recipes"])
        assert cfg.precision == "32-true" and cfg.data.train_path.startswith("/data/")
        assert all(OmegaConf.select(cfg, key) == each for key, each in variant.overrides.items())
        if cfg.method == "mast":
            options = MASTOptions.parse(OmegaConf.to_container(cfg.method_kwargs))
            if options.mask_start == "blocks":
                block_masks(5, options.proj_output_dim, options.subspace_share)


def test_every_method_that_is_run_is_searched_where_it_has_anything_to_choose():
    for name in ("main", "cifar"):
        likes = {STUDY["variants"][m].get("like", m) for m in STUDY["stages"][name]["methods"]}
        searched = set(STUDY["stages"][STUDY["stages"][name]["chosen"]]["methods"])
        assert likes - {"untrained"} <= searched == set(STUDY["search"])


def test_a_stage_does_not_start_before_its_options_are_chosen():
    with pytest.raises(ConfigurationError, match="of vicreg from the stage search, which has not"):
        stage("main").variant("vicreg")
    assert stage("main").variant("untrained").overrides["optimizer.lr"] == 0.0


def test_the_frozen_choice_wins_over_a_variants_own_options():
    chosen = {"vicreg": {"method_kwargs.sim_loss_weight": 5.0, "optimizer.lr": 0.004}}
    for method in ("vicreg", "vicreg15"):
        overrides = stage("main", chosen=chosen).variant(method).overrides
        assert overrides["method_kwargs.sim_loss_weight"] == 5.0
        assert overrides["optimizer.lr"] == 0.004


# --- measures and records ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes", "share", "count"),
    [(15_000, 100, 0.01, 2), (15_000, 100, 0.1, 15), (50_000, 10, 0.01, 50), (90, 3, 0.01, 1)],
)
def test_a_share_of_the_labels_is_the_same_number_of_every_class(labels, classes, share, count):
    assert measure.labels_per_class(labels, classes, share) == count


def test_a_table_without_splits_gets_them_from_its_folders(tmp_path, image_folder):
    folder, lines = tmp_path / "cues", ["file,shape"]
    files = sorted(Path(image_folder).rglob("*.*"))[:4]
    for number, file in enumerate(files):
        name = f"{('train', 'test')[number % 2]}/{number}{file.suffix}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file.read_bytes())
        lines.append(f"{name},{'ab'[number // 2]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    for _ in range(2):  # the second time it is there
        found = read_labelled(measure.usable(folder, tmp_path / "work"))
    assert [path.name[0] for path in found.train_files] == ["0", "2"]
    assert [path.name[0] for path in found.val_files] == ["1", "3"]
    assert measure.usable(Path(image_folder), tmp_path) == Path(image_folder)


def fake_record():
    runs = []
    for method, by_seed in METHODS.items():
        for seed, sets in by_seed.items():
            scores = {name: {"class": {"linear": value}} for name, value in sets.items()}
            own = {"class": {"linear": 40.0, "knn": 30.0, "1%": 9.0, "10%": 20.0}}
            runs.append({"method": method, "seed": seed, "options": {}, "minutes": 2.0})
            runs[-1] |= {"own": own, "validation": 33.0, "sets": scores}
    runs.append({"method": "d", "seed": 0, "options": {}, "minutes": 0.1, "diverged": True})
    content = {"stage": "main", "configuration": {"pretraining": "p"}, "baselines": ["b", "c"]}
    return {**content, "runs": runs}


def test_the_page_prints_what_a_record_holds(tmp_path):
    record.write(tmp_path / "main.json", fake_record())
    assert record.read(tmp_path / "main.json") == fake_record()
    lines = (tmp_path / "main.json").read_text().splitlines()
    assert sum(line.startswith('  {"method"') for line in lines) == len(fake_record()["runs"])
    page = [sys.executable, str(HERE / "page.py"), "--results", str(tmp_path)]
    text = subprocess.run(page, check=True, capture_output=True, text=True).stdout
    assert "Diverged: d 0." in text
    assert "| a | 3 | 41.5 ± 4.5 | 1.62 | 1.3 ± 1.4 | 2 of 2, 0.500 |" in text
    assert "| b | 3 | 40.2 ± 3.1 | 1.88 |  |  |" in text
