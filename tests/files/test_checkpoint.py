"""Checkpoints are whole or not there, whatever happens while they are written."""

import errno
import json
import os
import resource
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mast_plugin.errors import StorageError
from mast_plugin.files.storage import part_of, whole_file
from mast_plugin.host.checkpoint import complete
from mast_plugin.pretrain import pretrain
from mast_plugin.running.run import latest_checkpoint

PATTERN = "ep={}.ckpt"


class HostCheckpointer:
    """As much of a host's callback as ours builds on."""

    def __init__(self, cfg, logdir, frequency, keep_prev):
        self.cfg, self.path, self.frequency = cfg, Path(logdir), frequency

    def initial_setup(self, trainer):
        self.ckpt_placeholder, self.last_ckpt = "run-x-ep={}.ckpt", None

    def save_args(self, trainer):
        (self.path / "args.json").write_text(json.dumps(self.cfg))


class Trainer(SimpleNamespace):
    """As much of an engine's Trainer as a saving takes."""

    is_global_zero, sanity_checking, max_epochs, ckpt_path = True, False, 100, None

    def save_checkpoint(self, path, weights_only):
        Path(path).write_text(self.content)


@pytest.fixture
def started(tmp_path):
    """A checkpointer at the start of a session."""

    def start(trainer, *, keep_prev=False, frequency=1):
        cfg = {"checkpoint": {"keep_prev": keep_prev}}
        checkpointer = complete(HostCheckpointer)(cfg, str(tmp_path), frequency, keep_prev)
        checkpointer.initial_setup(trainer)
        checkpointer.save_args(trainer)
        return checkpointer

    return start


def saved(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "args.json"}


@contextmanager
def largest_file(size: int):
    """Let no file of this process become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- one checkpoint after the other --------------------------------------------------------------


def test_each_checkpoint_replaces_the_one_before_it(started, tmp_path):
    trainer = Trainer(current_epoch=0, content="first")
    checkpointer = started(trainer)
    checkpointer.on_train_epoch_end(trainer, None)
    trainer.current_epoch, trainer.content = 1, "second"
    checkpointer.on_train_epoch_end(trainer, None)
    assert saved(tmp_path) == {"ep=1.ckpt": "second"}


def test_the_last_epoch_is_saved_whatever_the_frequency(started, tmp_path):
    trainer = Trainer(current_epoch=99, content="last")
    started(trainer, frequency=10).on_train_epoch_end(trainer, None)
    assert saved(tmp_path) == {"ep=99.ckpt": "last"}


def test_the_old_one_goes_when_the_new_one_is_on_the_disk(started, tmp_path, monkeypatch):
    """A power cut keeps what was synchronised: the bytes, then the name, and only then the rest."""
    trainer, done = Trainer(current_epoch=0, content="first"), []
    checkpointer = started(trainer)
    checkpointer.save(trainer)
    old, new = (tmp_path / PATTERN.format(epoch) for epoch in (0, 1))
    fsync = os.fsync

    def note(name, genuine):
        def noted(*arguments, **options):
            done.append((name, str(arguments[0])))
            return genuine(*arguments, **options)

        return noted

    def note_fsync(descriptor):
        done.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note("name", Path.replace))
    monkeypatch.setattr(Path, "unlink", note("remove", Path.unlink))
    trainer.current_epoch = 1
    checkpointer.save(trainer)
    part = str(part_of(new))
    assert done == [
        ("fsync", part),
        ("name", part),
        ("fsync", str(tmp_path)),
        ("remove", str(old)),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_failed_write_leaves_the_one_before_and_no_part(code, started, tmp_path):
    trainer = Trainer(current_epoch=0, content="first")
    checkpointer = started(trainer)
    checkpointer.save(trainer)

    def fail(path, weights_only):
        Path(path).write_text("sec")
        raise OSError(code, os.strerror(code))

    trainer.current_epoch, trainer.save_checkpoint = 1, fail
    with pytest.raises(StorageError, match=rf"ep=1\.ckpt: {os.strerror(code)}"):
        checkpointer.save(trainer)
    assert saved(tmp_path) == {"ep=0.ckpt": "first"}


# --- the session after an interruption -----------------------------------------------------------


@pytest.mark.parametrize(("keep_prev", "left"), [(False, {7}), (True, {6, 7})])
def test_a_resumed_session_tidies_up_what_a_kill_left(keep_prev, left, started, tmp_path):
    """It struck while epoch 8 was written, or before epoch 6 was removed."""
    trainer = Trainer(current_epoch=7, content="good")
    started(trainer, keep_prev=keep_prev)
    for epoch in (6, 7):
        (tmp_path / PATTERN.format(epoch)).write_text("good")
    part_of(tmp_path / PATTERN.format(8)).write_text("torn")
    trainer.ckpt_path = str(tmp_path / PATTERN.format(7))
    checkpointer = started(trainer, keep_prev=keep_prev)
    assert set(saved(tmp_path)) == {PATTERN.format(epoch) for epoch in left}
    trainer.current_epoch = 8
    checkpointer.save(trainer)
    kept = {8} | (left if keep_prev else set())
    assert set(saved(tmp_path)) == {PATTERN.format(epoch) for epoch in kept}


def test_a_session_goes_on_from_a_name_of_the_host(started, tmp_path):
    """As older versions wrote it: with the run's name in front."""
    old, older = (tmp_path / f"run-x-ep={epoch}.ckpt" for epoch in (7, 6))
    trainer = Trainer(current_epoch=7, content="good")
    started(trainer)
    for path in (old, older):
        path.write_text("good")
    assert latest_checkpoint(tmp_path) == old
    trainer.ckpt_path, trainer.current_epoch = str(old), 8
    checkpointer = started(trainer)
    assert set(saved(tmp_path)) == {old.name}
    checkpointer.save(trainer)
    assert set(saved(tmp_path)) == {"ep=8.ckpt"}
    assert latest_checkpoint(tmp_path).name == "ep=8.ckpt"


def test_what_an_earlier_session_kept_on_purpose_stays(started, tmp_path):
    trainer = Trainer(current_epoch=7, content="good", ckpt_path=str(tmp_path / PATTERN.format(7)))
    started(Trainer(current_epoch=0, content=""), keep_prev=True)
    for epoch in (6, 7):
        (tmp_path / PATTERN.format(epoch)).write_text("good")
    started(trainer, keep_prev=False)
    assert set(saved(tmp_path)) == {PATTERN.format(epoch) for epoch in (6, 7)}


def test_a_checkpoint_of_another_folder_is_never_removed(started, tmp_path):
    elsewhere = tmp_path / "other" / PATTERN.format(3)
    elsewhere.parent.mkdir()
    elsewhere.write_text("theirs")
    trainer = Trainer(current_epoch=4, content="ours", ckpt_path=str(elsewhere))
    started(trainer).save(trainer)
    assert elsewhere.read_text() == "theirs"


# --- full disks ----------------------------------------------------------------------------------


def test_a_file_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "evaluation.json"
    path.write_bytes(b"whole")
    with largest_file(1000), pytest.raises(OSError), whole_file(path) as file:
        file.write(bytes(2000))
    assert path.read_bytes() == b"whole" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(host, small, tiny_disk):
    """There is room for one checkpoint of 43 MiB, and not for a second beside it."""
    place = tiny_disk(64)
    cfg = small(
        "mast",
        f"checkpoint.dir={place}",
        "optimizer.name=sgd",
        "~optimizer.kwargs.fused",
        "+optimizer.kwargs.momentum=0.0",
        "checkpoint.frequency=1",
        "max_epochs=2",
        "auto_resume.enabled=true",
        "data.check=false",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        with pytest.raises(StorageError) as caught:
            pretrain(cfg)
        (kept,) = place.rglob("*.ckpt")
        assert kept.name.endswith("ep=0.ckpt")
        assert str(caught.value) == (
            f"cannot write {kept.parent / kept.name.replace('ep=0', 'ep=1')}: No space left on "
            f"device; free some space, and the same command goes on from {kept}"
        )
        assert torch.load(kept, weights_only=False)["epoch"] == 0
        assert not list(place.rglob(".*.part"))
        tiny_disk(128, again=True)
        pretrain(cfg)
    (last,) = place.rglob("*.ckpt")
    assert torch.load(last, weights_only=False)["epoch"] == 1


def test_torchs_own_error_of_a_full_disk_is_recognised(host, tmp_path):
    from mast_plugin.files.storage import full_disk_named
    from mast_plugin.host.checkpoint import streaming_io

    path, content = tmp_path / "a.ckpt", {"weights": torch.zeros(10_000)}
    refused = pytest.raises(StorageError, match="File too large")
    with largest_file(5000), refused, full_disk_named(path):
        streaming_io(host.engine).save_checkpoint(content, path)
