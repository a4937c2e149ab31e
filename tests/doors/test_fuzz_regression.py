"""What fuzzing found, each with the sentence that it is now answered with."""

import copy
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mast_plugin.comparison.preparation import checked as checked_comparison
from mast_plugin.comparison.variant import Variant, composed, grid
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluate import checked as checked_evaluation
from mast_plugin.evaluation.measurement import read as read_measurements
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.pretrain import pretrain
from mast_plugin.pretraining.preparation import planned_run
from mast_plugin.running.cost import read_cost
from mast_plugin.setting.configuration import resolve

from ..hostile import material

pytestmark = pytest.mark.slow

HUGE = 16**5000
"""More digits than Python agrees to print."""


def refused(match: str):
    return pytest.raises(ConfigurationError, match=match)


def recipe(**changes):
    """The shipped recipe, with changes at keys whose dots are written as two underscores."""
    cfg = OmegaConf.create(copy.deepcopy(material.recipe(".", "mast")))
    for key, value in changes.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, merge=False, force_add=True)
    return cfg


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("data__train_path", 5, "data.train_path is 5; it must be a path"),
        ("data__train_path", "a" * 300, "it must be a path"),
        ("data__fraction", "half", "data.fraction is 'half'; it must be one of -1, or a number"),
        ("data__no_labels", 0, "data.no_labels is 0; it must be true or false"),
        ("data__num_workers", 10**6, r"it must be a whole number in \[0, 1024\]"),
        ("checkpoint__dir", None, "checkpoint.dir is None; it must be a path"),
        ("checkpoint__frequency", 0, "checkpoint.frequency is 0"),
        ("name", "../elsewhere", "name is '../elsewhere'; it must be a name of up to 100"),
        ("name", "a{0}", "it must be a name of up to 100 characters"),
        ("method", ["mast"], r"method is \['mast'\]; it must be a word"),
        ("seed", -1, r"seed is -1; it must be a whole number in \[0, 4294967295\]"),
        ("max_epochs", 10**9, "max_epochs is 1000000000"),
        ("scheduler__warmup_epochs", "one", "scheduler.warmup_epochs is 'one'"),
        ("scheduler__lr_decay_steps", "60", "must be a list such as"),
        ("optimizer__lr", float("nan"), "optimizer.lr is nan; it must be a finite number"),
        ("optimizer__lr", float("inf"), "optimizer.lr is inf; it must be a finite number"),
        ("optimizer__kwargs", {"fuse": True}, "optimizer.kwargs.fuse is not an option of adamw"),
        ("optimizer__kwargs", {"betas": [2, 2]}, "adamw cannot take optimizer.kwargs=.*Invalid"),
        ("method_kwargs", "none", "method_kwargs is 'none'; it must be a section of keys"),
        ("method_kwargs", {5: 1}, "method_kwargs has the key 5: name it"),
        pytest.param(
            *("method_kwargs__mask_lr", HUGE, "method_kwargs.mask_lr is too long to be shown"),
            id="huge",
        ),
        ("data__a\nb", 1, r"data has the key 'a\\nb': name it"),
        ("data__" + "a" * 300, 1, r"data has the key 'aaaa"),
        ("name", "x" * 5000, "name is 'xxx.*'; it must be"),
        ("wandb", ["no"], r"wandb must be a section of keys, not \['no'\]"),
    ],
)
def test_a_value_that_no_key_takes_is_refused_on_one_line(key, value, sentence):
    with refused(sentence) as caught:
        resolve(recipe(**{key: value}))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_text_that_would_become_an_interpolation_is_refused():
    with refused("data.train_path is .* without"):
        resolve(recipe(data__train_path="\\${data}"))


def test_a_configuration_without_bounds_is_refused():
    nested: object = 1
    for _ in range(45):
        nested = [nested]
    with refused("cannot be resolved: it is nested more than 40 deep"):
        resolve(recipe(method_kwargs={"a": nested}))


def test_a_schedule_in_steps_needs_steps():
    with refused(r"scheduler.name=step needs scheduler.lr_decay_steps=\[60,80\]"):
        resolve(recipe(scheduler__name="step"))


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ({"crop_size": 10**9}, "crop_size must be a whole number of at least 1 and at most 4096"),
        ({"num_crops": 10**9}, "num_crops must be a whole number of at least 1 and at most 4096"),
        ({"crop": {"min_scale": 10**400}}, r"augmentations.0.crop.min_scale is 1000.*it must be"),
    ],
)
def test_views_without_bounds_are_refused(block, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = [material.recipe(".", "mast")["augmentations"][0] | block]
    with refused(sentence):
        planned_run(recipe(augmentations=blocks))


def test_a_projector_without_bounds_is_refused():
    with refused("proj_hidden_dim is 1000000; it must be a whole number in .1, 65536."):
        planned_run(recipe(method_kwargs__proj_hidden_dim=10**6))


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("backbone__name", "resnet19", "backbone.name is .resnet19.; the installed solo-learn has"),
        ("devices", "all", "devices=all precision=32-true cannot be had here"),
        ("precision", "8", "precision=8 cannot be had here"),
        ("accelerator", "abacus", "accelerator=abacus"),
    ],
)
def test_what_only_the_engine_or_the_host_knows_is_refused_by_name(
    key, value, sentence, host, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    material.write_images(tmp_path / "images")
    with refused(sentence) as caught:
        pretrain(recipe(**{key: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [1", "recipe of mine cannot be composed: .*, in line 1"),
        (b"\xff\xfe", "recipe of mine cannot be composed: .*codec"),
        (b"- 1", "recipe of mine cannot be composed"),
        (b"a: *b", "recipe of mine cannot be composed: found undefined alias"),
    ],
)
def test_a_recipe_that_is_no_yaml_is_refused(content, sentence, tmp_path):
    (tmp_path / "mine.yaml").write_bytes(content)
    with refused(sentence):
        composed(Variant("mine", "mine", {}), tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tasks": "digit"}, r"tasks is 'digit'; it must be a list such as \[a, b\], or null"),
        ({"view": {"mean": [0.5]}}, r"view.mean is \[0.5\]; it must be a list such as"),
        ({"view": {"size": 32}}, "view.size is not an option of mast-evaluate; view knows"),
        ({"epochs": {"finetune": "many"}}, "epochs.finetune is 'many'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"protocols": 5}, "protocols is 5; it must be a list"),
        ({"output": ["a"]}, "output is .*; it must be a path"),
        ({"backbone": "???"}, "backbone is missing: give it as backbone=VALUE"),
        ({"backbone": {"kwargs": "???"}}, "backbone.kwargs is missing"),
        ({"backbone": {"kwargs": {"pretrained": True}}}, "backbone.kwargs.pretrained would have"),
    ],
)
def test_options_of_an_evaluation_are_checked_before_it_starts(options, sentence):
    with refused(sentence):
        checked_evaluation(OmegaConf.create({"checkpoint": "a.ckpt", **options}))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": "0"}, "seeds is '0'; it must be a list"),
        ({"seeds": list(range(1001)), "methods": ["mast"]}, "asks for 1001 runs; give at most"),
        ({"methods": []}, "methods is empty; name at least one"),
        ({"protocols": ["knn", "???"]}, r"protocols\[1\] is missing: give it as"),
        ({"overrides": "???"}, "overrides is missing: give it as overrides=VALUE"),
        ({"methods": ["x"], "variants": {"x": {}}}, "variants.x.recipe is None"),
        ({"methods": ["x"], "variants": {"x": 1}}, "variants.x is 1; it must be a section"),
        ({"variants": None}, "variants is None; it must be a section"),
        ({"overrides": "max_epochs"}, "overrides is 'max_epochs'; it must be a section"),
    ],
)
def test_options_of_a_comparison_are_checked_before_it_starts(options, sentence, host):
    with refused(sentence):
        checked_comparison(OmegaConf.create(options))


def test_a_search_that_never_ends_is_refused():
    with refused("search asks for 1000000 runs"):
        grid({"a": list(range(1000)), "b": list(range(1000))})
    with refused("search.a is 5; it must list values to try"):
        grid({"a": 5})


@pytest.mark.parametrize(
    "changes",
    [
        {"data": []},
        {"augmentations": [[1]]},
        {"backbone": {"name": {"a": 1}, "kwargs": {}}},
        {"backbone": {"name": "resnet18", "kwargs": {"depth": -1}}},
        {"method_kwargs": None},
        {"evaluation": 5, "method": "mast", "optimizer": "sgd"},
    ],
)
def test_a_wild_configuration_beside_a_checkpoint_is_refused(changes, host, tmp_path):
    material.link("trained.ckpt", tmp_path / "run.ckpt")
    (tmp_path / "args.json").write_text(json.dumps(material.arguments() | changes))
    with refused("configuration") as caught:
        open_network(tmp_path / "run.ckpt")
    assert "\n" not in str(caught.value)


def test_a_namespace_that_lacks_a_key_is_refused(host, tmp_path):
    material.link("trained.ckpt", tmp_path / "run.ckpt")
    (tmp_path / "args.json").write_text('{"encoder": "resnet18", "transform_kwargs": {"a": 1}}')
    with refused("configuration of .*args.json cannot be read .KeyError: 'crop_size'"):
        open_network(tmp_path / "run.ckpt")


def test_a_damaged_record_of_the_cost_is_refused_by_its_name(tmp_path):
    (tmp_path / "cost.csv").write_text("epoch,seconds\n0,1.5\n")
    with pytest.raises(DataError, match=r"cost.csv cannot be read .*only the cost is lost"):
        read_cost(tmp_path)


def test_an_evaluation_that_is_nested_without_end_is_refused(tmp_path):
    path: Path = tmp_path / "evaluation.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="no readable evaluation: RecursionError"):
        read_measurements(path)


def test_wandb_without_a_key_is_refused_before_anything_is_trained(small, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))  # where a key would be
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with refused("wandb.enabled=true cannot be had .*API key.* or set wandb.offline=true"):
        pretrain(small("mast", "wandb.enabled=true"))
    assert not list(tmp_path.rglob("*.ckpt"))
