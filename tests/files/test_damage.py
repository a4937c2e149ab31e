"""Files of weights that are not as they were written: none is read as if it were."""

import random
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.weight_file import read_weights
from mast_plugin.files.pickle_file import read_pickle
from mast_plugin.files.tensor_file import DIGEST, read_tensors, write_tensors
from mast_plugin.host.checkpoint import streaming_io
from mast_plugin.running.resumption import read_checkpoint

from ..hostile.material import whole_checkpoint

pytestmark = pytest.mark.slow

FLIPS = 1500
FOLDER = 0x10


def weights() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "a": torch.randn(40, 60, generator=rng),
        "b": torch.randn(7, generator=rng).bfloat16(),
        "c": torch.tensor(5),
        "d": torch.empty(0),
    }


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.save(whole_checkpoint(weights()), tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.fixture
def tensors(tmp_path) -> Path:
    write_tensors(tmp_path / "a.safetensors", weights(), {"made": "here"})
    return tmp_path / "a.safetensors"


def refused():
    return pytest.raises(ConfigurationError, match=r"^[^\n]*copy it again|was not loaded: it unpa")


def same(found: dict[str, Tensor]) -> bool:
    expected = weights()
    return found.keys() == expected.keys() and all(
        found[name].dtype == value.dtype and torch.equal(found[name], value)
        for name, value in expected.items()
    )


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def read_by_flips(path: Path, read) -> dict[str, int]:
    """How many of many flips of one bit are refused, and how many give the same weights."""
    content, rng = path.read_bytes(), random.Random(0)
    tally = {"refused": 0, "the same": 0}
    for bit in rng.sample(range(8 * len(content)), FLIPS):
        path.write_bytes(flipped(content, bit))
        try:
            found = read(path)
        except ConfigurationError as error:
            assert "\n" not in str(error)
            tally["refused"] += 1
        else:
            assert same(found), f"bit {bit} changes the weights, and nobody notices"
            tally["the same"] += 1
    return tally


def test_no_flipped_bit_of_a_checkpoint_changes_its_weights(checkpoint):
    """Where dates and paddings stand, a bit says nothing."""
    tally = read_by_flips(checkpoint, lambda path: read_pickle(path)["state_dict"])
    assert tally["refused"] > 0.75 * FLIPS


def test_no_flipped_bit_of_a_safetensors_file_changes_its_weights(tensors):
    assert read_by_flips(tensors, read_tensors)["refused"] > 0.95 * FLIPS


def test_a_part_that_calls_itself_a_folder_is_refused(checkpoint):
    """torch would leave that weight's memory as it happened to be, and say nothing."""
    content = checkpoint.read_bytes()
    with zipfile.ZipFile(checkpoint) as archive:
        parts = [part.filename.encode() for part in archive.infolist()]
    for part in parts:
        attribute = content.rindex(part) - 8  # where the archive's table says what it is
        assert content[attribute] == 0
        checkpoint.write_bytes(flipped(content, 8 * attribute + FOLDER.bit_length() - 1))
        with refused():
            read_pickle(checkpoint)


def of_a_bit(content: bytes) -> bytes:
    return flipped(content, 8 * (content.index(b"ZZZZ") + 4000))  # inside of the weights


def of_four_kibibytes(content: bytes) -> bytes:
    start = content.index(b"ZZZZ") + 100
    return content[:start] + bytes(4096) + content[start + 4096 :]


def of_its_end(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


DAMAGES = [of_a_bit, of_four_kibibytes, of_its_end]


def engines_own(path: Path):
    from mast_plugin.host import load_host

    return streaming_io(load_host().engine).load_checkpoint(path)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [read_weights, read_checkpoint, engines_own])
def test_whatever_reads_a_checkpoint_refuses_damage(host, checkpoint, read, damage):
    read(checkpoint)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with refused() as caught:
        read(checkpoint)
    assert str(checkpoint) in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:600] + bytes(4096) + content[4696:], of_its_end],
    ids=["zeros", "end"],
)
def test_damaged_safetensors_are_refused_by_the_evaluation(tensors, damage):
    assert same(read_weights(tensors).state)
    tensors.write_bytes(damage(tensors.read_bytes()))
    with refused():
        read_weights(tensors)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"F32","shape":[40,60]', b'"I32","shape":[40,60]'),
        (b'"F32","shape":[40,60]', b'"F32","shape":[60,40]'),
        (b'"b":{', b'"B":{'),
        (b'"made":"here"', b'"made":"hare"'),
    ],
    ids=["kind", "shape", "name", "metadata"],
)
def test_what_a_safetensors_file_says_of_its_values_is_in_the_digest(tensors, was, becomes):
    content = tensors.read_bytes()
    assert content.count(was) == 1
    tensors.write_bytes(content.replace(was, becomes))
    with refused():
        read_tensors(tensors)


def test_a_runs_own_checkpoint_has_a_checksum_for_every_part(trained):
    """torch can be told to write none."""
    (path,) = trained("mast").glob("*.ckpt")
    with zipfile.ZipFile(path) as archive:
        assert all(part.CRC or not part.file_size for part in archive.infolist())
        assert archive.testzip() is None


# --- what holds nothing to compare with -----------------------------------------------------------


def test_files_without_checksums_are_read_as_they_are(tmp_path):
    torch.save(weights(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(weights(), tmp_path / "bare.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "bare.pth") as archive:
        assert archive.testzip() is not None  # a reader that compared would refuse it
    assert same(read_weights(tmp_path / "old.pth").state)
    assert same(read_weights(tmp_path / "bare.pth").state)


def test_foreign_safetensors_are_read_without_a_digest_and_ours_by_any_reader(tensors, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    save_file(weights(), tmp_path / "foreign.safetensors")
    assert same(read_tensors(tmp_path / "foreign.safetensors"))
    assert same(load_file(tensors))
    with safe_open(tensors, framework="pt") as file:
        assert file.metadata().keys() == {DIGEST, "made"}


def test_tensors_that_share_memory_or_are_no_rows_of_it_are_written_whole(tmp_path):
    table = torch.arange(12.0).reshape(3, 4).requires_grad_()
    given = {"table": table, "turned": table.T, "part": table[1:, ::2]}
    write_tensors(tmp_path / "a.safetensors", given)
    found = read_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(found[name], value) for name, value in given.items())
