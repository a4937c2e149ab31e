"""Configurations that somebody else wrote: none of them runs anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.document import read_document
from mast_plugin.registration import register_resolvers
from mast_plugin.setting.composition import refuse_code
from mast_plugin.setting.shipped import shipped_directory

TOUCH = "{_target_: os.system, command: touch witness}"


def composed(folder: Path, name: str, *overrides: str):
    register_resolvers()
    with initialize_config_dir(str(folder), version_base="1.2"):
        return compose(name, overrides=list(overrides), return_hydra_config=True)


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe with some more lines than the shipped one."""

    def write(lines: str) -> Path:
        (tmp_path / "mine.yaml").write_text(f"defaults: [mast, _self_]\n{lines}\n")
        return tmp_path

    return write


@pytest.mark.parametrize(
    "lines",
    [
        f"hydra: {{callbacks: {{x: {TOUCH}}}}}",
        f"junk: {{x: {TOUCH}}}\nhydra: {{callbacks: '${{junk}}'}}",
        "hydra: {job_logging: {handlers: {x: {(): subprocess.Popen, args: [touch, witness]}}}}",
        "hydra: {job_logging: {handlers: {x: {class: logging.config.fileConfig, fname: x}}}}",
        "hydra: {hydra_logging: {handlers: {x: '${junk}'}}}",
        "hydra: {job_logging: {formatters: {x: {format: 'ext://antigravity'}}}}",
        "hydra: {job: {env_set: {LD_PRELOAD: evil.so}}}",
        f"hydra: {{sweeper: {{params: {TOUCH}}}}}",
        "hydra: {sweeper: {_target_: os.system}}",
    ],
)
@pytest.mark.slow
def test_a_file_cannot_have_hydra_run_code(lines, recipe):
    cfg = composed(recipe(lines), "mine")
    with pytest.raises(ConfigurationError, match=r"its hydra\..* could run code"):
        refuse_code(cfg, [])


@pytest.mark.parametrize("key", ["setup", "teardown", "python", "srun_args"])
def test_a_file_cannot_give_a_scheduler_a_command(key):
    """SLURM's launcher, where it is installed, writes them into a script for a shell."""
    cfg = OmegaConf.create({"hydra": {"launcher": {key: ["touch witness"]}}})
    with pytest.raises(ConfigurationError, match=rf"its hydra\.launcher\.{key} .* could run code"):
        refuse_code(cfg, [])


def test_the_command_line_may(recipe):
    override = "+hydra.callbacks.x._target_=my.own.Callback"
    refuse_code(composed(recipe(""), "mine", override), [override])


@pytest.mark.parametrize("folder", [".", "cifar", "imagenet"])
def test_what_is_shipped_is_as_harmless_as_it_must_be(folder):
    overrides = ["hydra/job_logging=default", "hydra/hydra_logging=default"]
    refuse_code(composed(shipped_directory() / folder, "mast", *overrides), [])


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (f"hydra: {{callbacks: {{x: {TOUCH}}}}}", "could run code, which a file may not"),
        ("a: [1", "in line 3"),
        ("a: !!python/object/apply:os.system [touch witness]", "could not determine a constructor"),
    ],
)
@pytest.mark.slow
def test_the_command_refuses_such_a_file_before_anything_runs(lines, sentence, recipe, tmp_path):
    recipe(lines)
    command = [sys.executable, "-m", "mast_plugin.pretrain", "--config-path", str(tmp_path)]
    run = subprocess.run(
        [*command, "--config-name", "mine", "data.train_path=nowhere"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("mast-pretrain: mine cannot be used: ")
    assert sentence in run.stderr and len(run.stderr.splitlines()) == 1
    assert not (tmp_path / "witness").exists()


LAUGHS = "a: &a [1, 1, 1]\n" + "".join(
    f"{now}: &{now} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, now in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.yaml", LAUGHS, "more than 16 aliases"),
        ("a.yaml", "a: !!python/name:os.system", "could not determine a constructor"),
        ("a.yaml", "a: " + "[" * 500 + "]" * 500, "nested more than 40 deep"),
        ("a.json", "[" * 100_000, "nested more than 40 deep"),
        ("a.json", "[" * 60 + "]" * 60, "nested more than 40 deep"),
        ("a.json", '"' + "x" * 300_000 + '"', "more than 262,144 bytes"),
        ("a.json", "[" + "1," * 30_000 + "1]", "more than 20,000 values"),
        ("a.json", "9" * 5000, "Exceeds the limit"),
    ],
)
def test_a_configuration_beside_weights_is_read_within_bounds(name, text, reason, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_document(tmp_path / name)


def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "args.json")
    with pytest.raises(ValueError, match="no such file"):
        read_document(tmp_path / "args.json")
