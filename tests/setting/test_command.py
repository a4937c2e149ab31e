"""What the command lines share."""

import subprocess
import sys

import pytest

from mast_plugin.setting.argument import PATHS, merging, readable

pytestmark = pytest.mark.slow

NAMES = [
    "/data/Bilder aus dem Süden",
    "/data/写真",
    "/data/My photos (2023)",
    "/data/Tom's pictures",
    "/data/photos [old]",
    "/data/{a}: b",
    "/data/run #3 & 4",
    "/data/cats, dogs",
    "/data/a=b (1)",
    '/data/"quoted" \\ x',
    "2023",
    " in front",
    "'",
]


def value_of(argument: str):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (read,) = OverridesParser.create().parse_overrides([argument])
    return read.value()


@pytest.mark.parametrize("key", ["checkpoint", "+checkpoint", "++data.train_path"])
def test_a_path_with_an_equals_sign_is_readable(key):
    assert readable(f"{key}=runs/mast-ep=7.ckpt") == f'{key}="runs/mast-ep=7.ckpt"'


@pytest.mark.parametrize(
    "argument",
    [
        "lr=0.1",
        "name=",
        "data={fraction: 0.5, no_labels: true}",
        "~data",
        "methods=[a=b]",
        "overrides={a=b}",
        "checkpoint='ep=7.ckpt'",
        'checkpoint="ep=7.ckpt"',
        r"checkpoint=ep\=7.ckpt",
        "--config-path=a=b",
        "-cn=a=b",
        "x=${oc.env:A=B}",
    ],
)
def test_what_hydra_reads_stays(argument):
    assert readable(argument) == argument


def test_hydra_reads_what_was_readable():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    path = "/runs/my models/lr=0.1/mast-ep=7.ckpt"
    (read,) = OverridesParser.create().parse_overrides([readable(f"checkpoint={path}")])
    assert read.value() == path


def test_a_sweep_of_such_paths_stays_one():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = readable("checkpoint=a-ep=1.ckpt,b-ep=2.ckpt")
    (read,) = OverridesParser.create().parse_overrides([given])
    assert read.is_sweep_override()
    assert list(read.sweep_string_iterator()) == ['"a-ep=1.ckpt"', '"b-ep=2.ckpt"']


@pytest.mark.parametrize("name", NAMES)
def test_a_path_arrives_as_it_is_typed(name):
    assert value_of(readable(f"data.train_path={name}", sweep=False)) == name


@pytest.mark.parametrize("key", sorted(PATHS))
def test_that_holds_for_every_option_that_is_a_path(key):
    assert value_of(readable(f"{key}=/a (1), b#", sweep=False)) == "/a (1), b#"
    for kept in ("null", "'a'", '"a"', "${oc.env:HOME}", ""):
        assert readable(f"{key}={kept}", sweep=False) == f"{key}={kept}"


def test_every_path_of_the_schema_is_known_as_one():
    assert {"data.train_path", "data.val_path", "evaluation.dataset", "checkpoint.dir"} <= PATHS
    assert {"resume_from_checkpoint", "checkpoint", "config", "dataset", "output"} <= PATHS
    assert {"cache", "recipes"} <= PATHS


def test_a_path_inside_of_a_section_arrives_too():
    given = "overrides={max_epochs: 3, data.train_path: /data/cats, dogs (2), name: a}"
    read = value_of(readable(given))
    assert read == {"max_epochs": 3, "data.train_path": "/data/cats, dogs (2)", "name": "a"}


@pytest.mark.parametrize("name", ["Läufe (1)", "Run [3]", "a & b"])
def test_another_text_that_hydra_could_not_read_is_quoted_too(name):
    assert value_of(readable(f"name={name}")) == name


def test_a_sweep_of_odd_paths_stays_one():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = readable("dataset=/a (1)/x,/b [2]/y")
    (read,) = OverridesParser.create().parse_overrides([given])
    assert list(read.sweep_string_iterator()) == ['"/a (1)/x"', '"/b [2]/y"']
    assert readable("dataset=glob(*)") == "dataset=glob(*)"


def command(*arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_a_sweep_runs_every_path(tmp_path):
    given = ["-m", "checkpoint=a (1).ckpt,b.ckpt", "dataset=x, y"]
    done = command("mast_plugin.evaluate", *given, cwd=tmp_path)
    assert "checkpoint a (1).ckpt does not exist" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["name=[a (b]"], """cannot be read: if it is a text, type 'name="[a (b]"'"""),
        (["method_kwargs.temperature=1"], "its options are cov_loss_weight, proj_hidden_dim"),
        (["bath_size=3"], "bath_size is not a key of a configuration; the top level knows"),
        (["--config-name", "mst"], "there is no mst.yaml where it was asked for; the shipped"),
    ],
)
def test_what_there_is_not_gets_one_sentence(arguments, sentence, tmp_path):
    name = [] if "--config-name" in arguments else ["--config-name", "vicreg"]
    done = command("mast_plugin.pretrain", *name, *arguments, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert sentence in done.stderr


def test_options_need_no_plus(tmp_path):
    given = [
        "method_kwargs.sim_loss_weight=10",
        "limit_train_batches=2",
        "optimizer.kwargs.eps=0.1",
    ]
    printed = ["--config-name", "vicreg", "--cfg", "job"]
    done = command("mast_plugin.pretrain", *printed, *given, "augmentations=cifar", cwd=tmp_path)
    for line in ("  sim_loss_weight: 10", "limit_train_batches: 2", "    eps: 0.1"):
        assert line in done.stdout.splitlines(), done.stderr


def test_a_path_may_start_at_home(monkeypatch):
    """Behind an equals sign, no shell looks the home folder up."""
    monkeypatch.setenv("HOME", "/home/me")
    assert readable("data.train_path=~/photos", sweep=False) == 'data.train_path="/home/me/photos"'
    assert readable("checkpoint=~/a,~/b") == 'checkpoint="/home/me/a","/home/me/b"'


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_plus_signs_make_no_difference_to_an_option(plus):
    given = [f"{plus}optimizer.lr=0.2", f"{plus}seed=1", f"{plus}augmentations=cifar", "~wandb"]
    said = merging(given, lambda key: key == "augmentations")
    assert said == ["++optimizer.lr=0.2", "++seed=1", given[2], "~wandb"]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["max_epochs"], "max_epochs is no option: options are typed as key=value"),
        (["max_epochs=", "3"], "3 is no option: options are typed as key=value"),
        (["~nonsense"], "Could not delete from config. 'nonsense' does not exist."),
        (["augmentations=[{crop_size: 32}]"], "augmentations takes the name of a shipped list"),
        (["augmentations=nonsense"], "Could not find 'augmentations/nonsense'"),
        (["seed=1,2"], "with -m"),
        (["--max_epochs=3"], "--max_epochs=3 is no option: options are typed as key=value"),
    ],
)
def test_what_is_no_option_gets_one_sentence(typed, sentence):
    done = subprocess.run(
        [sys.executable, "main_pretrain.py", *typed], capture_output=True, text=True
    )
    assert done.returncode == 2 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("mast-pretrain: ")
