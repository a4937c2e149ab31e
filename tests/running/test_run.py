from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mast_plugin.errors import ConfigurationError
from mast_plugin.running.run import (
    changed_configuration,
    latest_checkpoint,
    metrics_kept,
    open_run,
    other_configuration,
    write_json,
)
from mast_plugin.setting.configuration import resolve

pytestmark = pytest.mark.slow


def folder(small, *overrides) -> Path:
    return open_run(resolve(small("mast", *overrides))).folder


def test_a_folder_belongs_to_one_configuration(small):
    assert folder(small) == folder(small)
    assert folder(small) != folder(small, "seed=6")
    assert folder(small) != folder(small, "method_kwargs.mask_lr=0.5")


def test_where_and_how_results_are_kept_does_not_make_another_run(small, tmp_path):
    elsewhere = folder(small, f"checkpoint.dir={tmp_path / 'other'}", "checkpoint.frequency=5")
    assert elsewhere.name == folder(small).name


def test_a_repetition_overwrites_nothing(small):
    first = folder(small)
    first.mkdir(parents=True)
    assert folder(small) == first.with_name(f"{first.name}-2")


def test_auto_resume_finds_the_latest_epoch_of_the_same_run(small):
    fresh = open_run(resolve(small("mast", "auto_resume.enabled=true")))
    assert fresh.resume_from is None
    fresh.folder.mkdir(parents=True)
    for epoch in (2, 10):
        (fresh.folder / f"mast-x-ep={epoch}.ckpt").touch()
    again = open_run(resolve(small("mast", "auto_resume.enabled=true")))
    assert again.folder == fresh.folder
    assert again.resume_from == fresh.folder / "mast-x-ep=10.ckpt"
    assert (
        open_run(resolve(small("mast", "auto_resume.enabled=true", "seed=9"))).resume_from is None
    )


def test_a_missing_checkpoint_is_refused(small):
    with pytest.raises(ConfigurationError, match=r"gone\.ckpt, which does not exist"):
        open_run(resolve(small("mast", "resume_from_checkpoint=gone.ckpt")))
    with pytest.raises(ConfigurationError, match=r"names /, which is a folder"):
        open_run(resolve(small("mast", "resume_from_checkpoint=/")))


def test_metrics_of_an_interrupted_run_are_moved_aside(tmp_path):
    for content in ("one", "two", "three"):
        with metrics_kept(tmp_path):
            (tmp_path / "metrics.csv").write_text(content)
    assert (tmp_path / "metrics.before-1.csv").read_text() == "one"
    assert (tmp_path / "metrics.before-2.csv").read_text() == "two"
    assert (tmp_path / "metrics.csv").read_text() == "three"
    assert latest_checkpoint(tmp_path) is None


def test_metrics_come_back_where_a_session_logs_none(tmp_path):
    (tmp_path / "metrics.csv").write_text("one")
    with pytest.raises(KeyboardInterrupt), metrics_kept(tmp_path):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert (tmp_path / "metrics.csv").read_text() == "one"


def test_auto_resume_says_which_key_differs(small, host):
    given = ("auto_resume.enabled=true", "checkpoint.enabled=true", "data.check=false")

    def line(*overrides: str) -> str:
        cfg = resolve(small("mast", *given, *overrides))
        return other_configuration(cfg, open_run(cfg))

    assert line() == ""
    for seed in ("5", "7"):
        cfg = resolve(small("mast", *given, f"seed={seed}", "max_epochs=3"))
        folder = open_run(cfg).folder
        content = OmegaConf.to_container(cfg, resolve=True)
        write_json(folder / "args.json", {**content, "wandb_run_id": "x"})
    (folder / "mast-ep=0.ckpt").touch()
    assert line("seed=7", "max_epochs=3") == ""  # it goes on
    said = line("seed=7", "max_epochs=4", "checkpoint.frequency=9")
    assert said == f"auto_resume starts anew: {folder} differs in max_epochs (3, now 4)"
    assert "method_kwargs.mask_lr (" in line("seed=7", "max_epochs=3", "method_kwargs.mask_lr=0.5")
    said = line("seed=7", "optimizer.lr=1", "optimizer.weight_decay=0", "augmentations.0.crop=null")
    assert said.endswith(" more") and said.count("now") == 3
    assert line("seed=7", "name=other") == ""


def test_a_run_that_goes_on_otherwise_than_it_began_says_so(small):
    cfg = resolve(small("mast", "seed=5", "max_epochs=3"))
    folder = open_run(cfg).folder
    write_json(folder / "args.json", OmegaConf.to_container(cfg, resolve=True))
    checkpoint = folder / "mast-ep=0.ckpt"
    checkpoint.touch()

    def line(*overrides: str) -> str:
        given = small("mast", "seed=5", "max_epochs=3", *overrides)
        given.resume_from_checkpoint = str(checkpoint)
        other = resolve(given)
        return changed_configuration(other, open_run(other))

    assert line() == line("max_epochs=9") == ""
    assert line("seed=7", "max_epochs=9") == (
        "the run goes on otherwise than it began, in seed (5, now 7)"
    )
    (folder / "args.json").unlink()
    assert line("seed=7") == ""
