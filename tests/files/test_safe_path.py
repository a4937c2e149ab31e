"""Tables, archives and images: what they name stays inside, what they claim is checked."""

import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from mast_plugin.errors import DataError
from mast_plugin.evaluation.labels.labelled_folder import read_labelled
from mast_plugin.loading.image import load_image
from mast_plugin.loading.image_table import ImageTable
from mast_plugin.loading.shard import TarImages
from mast_plugin.loading.shard_index import read_index, write_index
from mast_plugin.views.torchvision import CentredView

from ..hostile import material


def refused(match: str):
    return pytest.raises(DataError, match=match)


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "{full}"])
def test_labels_cannot_leave_their_folder(name, tmp_path):
    material.write_labelled(tmp_path / "set", material.rows())
    (tmp_path / "out.png").write_bytes(material.image())
    rows = material.rows()
    rows[0][0] = name.format(full=tmp_path / "out.png")
    text = "\n".join(",".join(row) for row in [["file", "split", "digit", "hue"], *rows])
    (tmp_path / "set" / "labels.csv").write_text(text)
    with refused("which is not in its folder: put the image there$"):
        read_labelled(tmp_path / "set")


def test_an_image_that_is_named_in_two_ways_is_one_image(tmp_path):
    rows = [*material.rows(), ["./0.png", "val", "0", "r"]]
    material.write_labelled(tmp_path / "set", rows)
    with refused("names './0.png' twice"):
        read_labelled(tmp_path / "set")


def image_table(folder: Path, *lines: str) -> Path:
    (folder / "images.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    (folder / "a.png").write_bytes(material.image())
    return folder / "images.csv"


def test_a_table_of_training_images_leaves_its_folder_in_full_only(tmp_path):
    table = image_table(tmp_path, f"{tmp_path / 'a.png'},0", "a.png,0")
    assert len(ImageTable(table, labelled=True)[0]) == 2
    with refused("names '../a.png', which is not in its folder: .*or name it in full"):
        ImageTable(image_table(tmp_path, "../a.png,0"), labelled=True)


def test_a_link_in_the_folder_is_its_owners_choice(tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(material.image())
    material.write_labelled(tmp_path / "set", material.rows())
    (tmp_path / "set" / "0.png").unlink()
    (tmp_path / "set" / "0.png").symlink_to(tmp_path / "elsewhere.png")
    assert read_labelled(tmp_path / "set").train_files[0].name == "0.png"


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["a.png"], "no label for 'a.png'"),
        ([",0"], "names no file"),
        (["a\tb.png,0"], "names no file"),
        (["a" * 300 + ".png,0"], "names no file"),
        (["a.png," + "9" * 5000], "number the classes from 0, below 100,000"),
        (["a.png,100000"], "number the classes from 0, below 100,000"),
        (["x" * 200_000 + ",0"], "cannot be read"),
    ],
)
def test_a_row_that_cannot_be_meant_is_refused(lines, match, tmp_path):
    with refused(match):
        ImageTable(image_table(tmp_path, *lines), labelled=True)


# --- images ---------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG that says it is that large, with the data of a single line."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(60_000, 60_000), (9_500, 9_500), (1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded(size, tmp_path):
    (tmp_path / "a.png").write_bytes(png(*size))
    with refused("cannot be read as an image .*(pixels, above|exceeds limit of)"):
        load_image(str(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_the_limit_is_pillows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 16)
    (tmp_path / "a.png").write_bytes(material.image(size=(20, 16)))
    assert load_image(str(tmp_path / "a.png")).size == (16, 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 16 - 1)
    (tmp_path / "a.png").write_bytes(material.image(size=(20, 16)))
    with refused("16 x 20 pixels, above 319"):
        load_image(str(tmp_path / "a.png"))


def test_a_program_in_postscript_is_no_image(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run it, whatever the file is called."""
    run = pytest.fail  # in place of Ghostscript, which need not be installed
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: run("it was run"))
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "EPS")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "EPS"
    with refused("cannot be read as an image"):
        load_image(str(tmp_path / "a.png"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_without_waiting(make, tmp_path):
    make(tmp_path / "a.png")
    with refused("is no file"):
        load_image(str(tmp_path / "a.png"))


def test_a_line_of_pixels_makes_a_view_without_a_giant_in_between(monkeypatch):
    """Resized as a whole, it would become 9,000 times as long as the view is high."""
    sizes, resize = [], Image.Image.resize

    def watched(image, size, *options, **more):
        sizes.append(tuple(size))
        return resize(image, size, *options, **more)

    monkeypatch.setattr(Image.Image, "resize", watched)
    assert CentredView(64)(Image.effect_noise((9000, 1), 80).convert("RGB")).shape == (3, 64, 64)
    assert sizes == [(64, 64)]


def test_a_long_images_view_is_its_middle():
    long = Image.effect_noise((64 * 17, 64), 80).convert("RGB")
    middle = long.crop((64 * 8, 0, 64 * 9, 64))
    assert CentredView(64)(long).equal(CentredView(64)(middle))


# --- shards ---------------------------------------------------------------------------------------


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def shard(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path = folder / "0.tar"
    path.write_bytes(material.shard(members))
    return path


def test_links_devices_and_pipes_in_a_tar_are_passed_over(tmp_path):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
    strange = [special(f"9{i}.png", kind, "/etc/passwd") for i, kind in enumerate(kinds)]
    images = TarImages([shard(tmp_path, [*strange, *material.members()])], labelled=True)
    assert len(images) == 4


def test_a_members_name_is_never_a_path(tmp_path):
    members = material.members()
    for info, _ in members:
        info.name = f"../../{info.name}"
    (tmp_path / "deep").mkdir()
    images = TarImages([shard(tmp_path / "deep", members)], labelled=True)
    assert images.open(0).size == (16, 20)
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "0.tar", "0.idx"}


def test_a_member_with_a_space_in_its_name_keeps_its_index_readable(tmp_path):
    members = material.members()
    for info, _ in members:
        info.name = f"my photo\n{info.name}"
    tar = shard(tmp_path, members)
    write_index(tar, tmp_path / "0.idx")
    images = TarImages([tar], labelled=True)
    assert [images.open(i).size for i in range(len(images))] == [(16, 20)] * 4


def test_a_damaged_header_is_no_end(tmp_path):
    """tarfile stops there without a word, and the samples behind it would be lost."""
    tar = shard(tmp_path, material.members())
    start = read_index(tar)[2][0].offset - tarfile.BLOCKSIZE
    content = bytearray(tar.read_bytes())
    content[start + 150] ^= 1  # in its checksum
    (tmp_path / "1.tar").write_bytes(content)
    with refused(f"1.tar cannot be read as a tar .*damaged at byte {start}"):
        TarImages([tmp_path / "1.tar"], labelled=True)


def test_a_tar_that_was_cut_between_two_members_is_refused(tmp_path):
    tar = shard(tmp_path, material.members())
    start = read_index(tar)[2][0].offset - tarfile.BLOCKSIZE
    (tmp_path / "1.tar").write_bytes(tar.read_bytes()[:start])
    with refused("1.tar cannot be read as a tar .*truncated"):
        TarImages([tmp_path / "1.tar"], labelled=True)


@pytest.mark.parametrize("size", ["-1", "-1024", "9" * 25, str(1 << 40)])
def test_a_declared_size_is_not_believed(size, tmp_path):
    info, content = material.members()[0]
    info.pax_headers = {"size": size}
    with refused("cannot be read as a tar"):
        TarImages([shard(tmp_path, [(info, content)])], labelled=False)


def test_a_negative_size_is_refused(tmp_path):
    """Python's own reader goes back by it, for ever (CVE-2025-8194)."""
    info = tarfile.TarInfo("back")
    info.type, info.size = b"Z", -tarfile.BLOCKSIZE
    content = info.tobuf(tarfile.GNU_FORMAT) + material.shard(material.members())
    (tmp_path / "0.tar").write_bytes(content)
    with refused("a size of -512 bytes"):
        TarImages([tmp_path / "0.tar"], labelled=False)


def test_a_file_with_holes_is_refused(tmp_path):
    info, content = material.members()[0]
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100"}
    with refused("is stored with holes"):
        TarImages([shard(tmp_path, [(info, content)])], labelled=False)


def test_a_compressed_tar_is_refused_before_it_inflates(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w:gz") as archive:
        for info, content in material.members():
            archive.addfile(info, io.BytesIO(content))
    with refused(r"cannot be read as a tar \((?!.*lie within)"):
        TarImages([tmp_path / "0.tar"], labelled=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1.2",
        "v1.2 1\n",
        "v1.2 1\npng 512 zero a.png\n",
        "v1.2 1\npng 512\n",
        "v1.2 1\npng -512 10 a.png\n",
        "v1.2 1\npng 512 -10 a.png\n",
        "v1.2 1\npng 512 999999999999999999999 a.png\n",
        "v1.2 9\npng 512 10 a.png\n",
    ],
)
def test_an_index_that_promises_what_is_not_there_is_refused(text, tmp_path):
    tar = shard(tmp_path, material.members())
    (tmp_path / "0.idx").write_text(text)
    with refused("the index .*0.idx cannot be read .*remove it, and it is made again"):
        TarImages([tar], labelled=True)
    assert (tmp_path / "0.idx").read_text() == text


@pytest.mark.parametrize("label", [b"-1", b"9" * 40, b"100000", b"1.5", b"", b"7" * 5000])
def test_a_label_that_no_class_has_is_refused(label, tmp_path):
    members = material.members()
    info = tarfile.TarInfo(members[1][0].name)
    info.size = len(label)
    members[1] = (info, label)
    with refused("which is not a whole number below 100,000"):
        TarImages([shard(tmp_path, members)], labelled=True)
