import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize, initialize_config_dir
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from mast_plugin.comparison.variant import Variant
from mast_plugin.comparison.variant import composed as compose_variant
from mast_plugin.core.options import MASTOptions
from mast_plugin.errors import ConfigurationError
from mast_plugin.loading.named import normalisation
from mast_plugin.registration import register_resolvers
from mast_plugin.setting.configuration import evaluation_options, resolve
from mast_plugin.setting.shipped import absolute_config_path, shipped_directory
from mast_plugin.views.plan import parse_pair, parse_views

SHIPPED = shipped_directory()
PRIMARY = sorted(
    str(path.relative_to(SHIPPED))
    for path in SHIPPED.rglob("*.yaml")
    if path.stem in ("mast", "mast15", "simclr", "vicreg")
    and path.parent.name not in ("method_kwargs", "shared")
)


def composed(path: str, *overrides: str):
    register_resolvers()
    folder, name = (SHIPPED / path).parent, Path(path).stem
    search = f"hydra.searchpath=[file://{SHIPPED}]"
    with initialize_config_dir(str(folder), version_base="1.2"):
        return compose(name, overrides=[search, *overrides])


def named_in_readme() -> set[str]:
    """The folders of README's table of recipes."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = readme.split("| `--config-name .../mast.yaml` |")[1].split("\n\n")[0]
    names = re.findall(r"^\| (\(none\)|`[\w-]+`) \|", table, re.MULTILINE)
    return {"." if name == "(none)" else name.strip("`") for name in names}


def test_every_dataset_has_the_three_methods():
    folders = {str(Path(path).parent) for path in PRIMARY}
    assert folders == named_in_readme()
    for folder in folders:
        for method in ("mast", "simclr", "vicreg"):
            assert str(Path(folder) / f"{method}.yaml") in PRIMARY


@pytest.mark.parametrize("path", PRIMARY)
def test_shipped_configuration_is_complete_and_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = resolve(composed(path, "data.train_path=somewhere"))
    blocks, statistics = OmegaConf.to_container(cfg.augmentations), normalisation(cfg.data.dataset)
    if cfg.method == "mast":
        MASTOptions.parse(cfg.method_kwargs)
        assert len(parse_pair(blocks, **statistics).types) >= 5
    else:
        assert sum(spec.num_crops for spec in parse_views(blocks, **statistics)) == 2


@pytest.mark.parametrize("folder", sorted({str(Path(path).parent) for path in PRIMARY}))
@pytest.mark.slow
def test_methods_of_a_folder_share_data_backbone_and_budget(folder):
    configurations = [
        resolve(composed(f"{folder}/{method}.yaml", "data.train_path=somewhere"))
        for method in ("mast", "simclr", "vicreg")
    ]
    for key in ("data", "backbone", "max_epochs", "optimizer.batch_size", "augmentations"):
        first, *others = (OmegaConf.select(cfg, key) for cfg in configurations)
        assert all(other == first for other in others), key


def test_fifteen_types_are_as_strong_as_five():
    """Above all in hue: a network that can tell pairs by their colour need not read the digits."""
    fifteen, five = (
        OmegaConf.to_container(composed(f"{name}.yaml", "data.train_path=x").augmentations)
        for name in ("mast15", "mast")
    )
    assert len(parse_pair(fifteen).types) == 15
    jitter = five[0].pop("color_jitter")
    assert fifteen[0]["hue"]["max_shift_turns"] == jitter["hue"]
    for part in ("brightness", "contrast", "saturation"):
        assert fifteen[0][part]["max_change"] == jitter[part], part
    assert {key: fifteen[0][key] for key in five[0]} == five[0]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+optimiser.lr=1", "optimiser is not a key"),
        ("+optimizer.learning_rate=1", "optimizer.learning_rate is not a key"),
        ("+data.root=x", "data.root is not a key"),
        ("optimizer.name=rmsprop", "one of sgd, lars, adam, adamw"),
        ("scheduler.name=cyclic", "one of warmup_cosine, step, none"),
        ("optimizer.name=lars", r"optimizer.kwargs.fused is not an option of lars"),
        (
            "++optimizer.kwargs.eta=1",
            r"eta is not an option of .*: take out .* with ~optimizer.kwargs.eta$",
        ),
        ("optimizer.batch_size=0", "optimizer.batch_size is 0"),
        ("optimizer.lr=-1", "optimizer.lr is -1"),
        ("max_epochs=many", "max_epochs is 'many'"),
        ("data.train_path=???", "data.train_path is missing"),
        ("data=folder", "data must be a section"),
        ("data.train_path=${nowhere}", "cannot be resolved"),
    ],
)
def test_impossible_configuration_is_refused_by_name(override, message):
    with pytest.raises(ConfigurationError, match=message):
        resolve(composed("mast.yaml", "data.train_path=x", override))


def test_resolving_leaves_the_given_configuration_alone():
    cfg = composed("mast.yaml", "data.train_path=x")
    before = OmegaConf.to_yaml(cfg)
    resolve(cfg)
    assert OmegaConf.to_yaml(cfg) == before


def test_config_path_is_taken_from_the_working_directory_first(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_config_path(["--config-path", "mine", "a=b"]) == [
        "--config-path",
        str(tmp_path / "mine"),
        "a=b",
    ]
    expected = str(SHIPPED / "cifar")
    assert absolute_config_path(["--config-path=scripts/pretrain/cifar"]) == [
        f"--config-path={expected}"
    ]
    assert absolute_config_path(["-cp", "cifar"]) == ["-cp", expected]
    # Hydra would look there last, after the shipped recipes of the same names.
    assert absolute_config_path(["--config-dir=mine"]) == [f"--config-path={tmp_path / 'mine'}"]
    both = ["-cd", str(tmp_path), "-cp", str(tmp_path)]
    assert absolute_config_path(both) == both


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config-name", "mast.yaml"],
        ["--config-path", "scripts/pretrain/cifar", "--config-name", "vicreg.yaml"],
    ],
)
@pytest.mark.slow
def test_command_line_composes_from_another_directory(arguments, tmp_path):
    command = [sys.executable, "-m", "mast_plugin.pretrain", *arguments, "--cfg", "job"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "method: " in run.stdout
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", [path for path in PRIMARY if "/" in path])
@pytest.mark.slow
def test_a_recipe_is_found_by_its_folder_from_anywhere(path):
    register_resolvers()
    with initialize(version_base="1.2", config_path=None):
        found = compose(path, overrides=["data.train_path=x"])
    assert found == composed(path, "data.train_path=x")


@pytest.mark.parametrize("name", ["mast", "mast15", "recipe"])
def test_a_recipe_that_a_folder_lacks_is_no_other_of_that_name(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["main_pretrain.py", "--config-name", f"{name}.yaml"])
    (tmp_path / "mine.yaml").write_text("defaults: [/base, /augmentations: cifar, _self_]\n")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert compose("mine").augmentations[0].crop_size == 32
        assert compose("cifar/mast").name == "mast-cifar10"
        with pytest.raises(MissingConfigException, match=f"(?s)'{name}'.*cifar/mast"):
            compose(name)


def test_a_recipe_of_ones_own_may_build_on_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["main_pretrain.py", "--config-name", "mine"])
    (tmp_path / "mine.yaml").write_text("defaults: [mast, _self_]\nname: mine\n")
    with initialize_config_dir(str(tmp_path), version_base="1.2"):
        assert compose("mine", overrides=["data.train_path=x"]).optimizer.lr == 0.004


def test_a_comparison_takes_no_recipe_from_elsewhere():
    variant = Variant("mast15", "mast15", {})
    with pytest.raises(ConfigurationError, match=r"there is no mast15\.yaml; recipes are"):
        compose_variant(variant, SHIPPED / "cifar")


def test_a_missing_augmentation_gets_one_sentence():
    with pytest.raises(ConfigurationError, match="augmentations is missing: give it as augmentati"):
        resolve(OmegaConf.create({"data": {"train_path": "x"}, "max_epochs": 1}))


@pytest.mark.slow
def test_other_programs_run_without_arguments_beside_the_plugin(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    program = (
        "from hydra import compose, initialize_config_dir\n"
        f"with initialize_config_dir({str(tmp_path)!r}, version_base='1.2'):\n"
        "    print(compose('mine').a)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "1\n", run.stderr


@pytest.mark.slow
def test_the_plugin_imports_nothing_heavy(tmp_path):
    program = (
        "import sys, hydra\n"
        "from hydra import compose, initialize\n"
        "with initialize(version_base='1.2', config_path=None): compose(None)\n"
        "assert 'hydra_plugins.mast_searchpath' in sys.modules\n"
        "print(sorted({'torch', 'solo', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_listed_options_are_the_defaults():
    listed = OmegaConf.to_container(OmegaConf.load(SHIPPED / "method_kwargs" / "mast.yaml"))
    assert listed == asdict(MASTOptions())


def test_a_warm_up_as_long_as_the_run_is_halved():
    cfg = resolve(composed("mast.yaml", "data.train_path=x", "max_epochs=1"))
    assert cfg.scheduler.warmup_epochs == 0.5
    assert resolve(composed("mast.yaml", "data.train_path=x")).scheduler.warmup_epochs == 1


@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_a_file_where_a_folder_is_written_is_refused_before_anything_starts(inside, tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("")
    message = f"must be a folder, but {re.escape(str(taken))} is a file"
    given = {"checkpoint": "a.ckpt", "output": f"{taken}{inside}"}
    with pytest.raises(ConfigurationError, match=f"^output=.* {message}"):
        evaluation_options(OmegaConf.create(given), "evaluate")
    with pytest.raises(ConfigurationError, match=f"^output=.* {message}"):
        evaluation_options(OmegaConf.create({"output": f"{taken}{inside}"}), "compare")
    cfg = composed("mast.yaml", "data.train_path=somewhere", f"checkpoint.dir={taken}{inside}")
    with pytest.raises(ConfigurationError, match=f"^checkpoint.dir=.* {message}"):
        resolve(cfg)
