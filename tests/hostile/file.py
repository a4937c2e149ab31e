"""Kinds of hostile files: images, tables, shards, checkpoints."""

import io
import os
import pickle
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import material
from .case import Kind
from .damage import damaged

Call = Callable[[], object]
_NAMES = ("../up.png", "/etc/hostname", "a/../../up.png", "", ".", "a" * 300, "a\0b", "train")


def _image(rng: random.Random) -> Call:
    from mast_plugin.loading.image import load_image
    from mast_plugin.views.torchvision import CentredView

    chance, path = rng.random(), Path("a.png")
    if chance < 0.85:
        path.write_bytes(damaged(material.image(rng.choice(material.IMAGE_FORMATS)), rng))
    elif chance < 0.95:
        path.write_bytes(_boastful(rng))
    else:
        rng.choice((path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path), str))()
    return lambda: CentredView(16)(load_image("a.png"))


def _boastful(rng: random.Random) -> bytes:
    """A header that promises more pixels than there are, or a line of them."""
    width, height = rng.choice(((60_000, 60_000), (1, 2**31 - 1), (0, 5), (9000, 9000), (1, 9000)))
    if rng.random() < 0.3:
        return b"P6 %d %d 255\n" % (width, height) + bytes(300)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = zlib.compress(bytes(height * (1 + 3 * width))) if width * height < 10_000 else b""
    chunks = ((b"IHDR", header), (b"IDAT", lines), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _label_table(rng: random.Random) -> Call:
    from mast_plugin.evaluation.labels.labelled_folder import read_labelled

    rows = _hostile_rows(material.rows(), rng)
    material.write_labelled(Path("set"), rows)
    _perhaps_damage(Path("set/labels.csv"), rng)
    Path("up.png").write_bytes(material.image())
    tasks = rng.choice((None, None, ["digit"], ["digit", "hue"], ["nothing"], ["file"]))

    def call() -> None:
        table = read_labelled(Path("set"), tasks)
        inside = Path("set").resolve()
        for file in (*table.train_files, *table.val_files):
            assert file.resolve().is_relative_to(inside), f"{file} leaves the folder"

    return call


def _image_table(rng: random.Random) -> Call:
    from mast_plugin.loading.image_table import ImageTable

    material.write_labelled(Path("set"), [])
    Path("up.png").write_bytes(material.image())
    rows = _hostile_rows([[f"{i}.png", rng.choice(("0", "1", "ant"))] for i in range(12)], rng)
    text = "\n".join(",".join(row) for row in [["file", "label"], *rows])
    Path("set/images.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    _perhaps_damage(Path("set/images.csv"), rng)
    labelled = rng.random() < 0.7

    def call() -> None:
        images = ImageTable(Path("set/images.csv"), labelled)
        for index in range(len(images)):
            _, label = images[index]
            assert label in range(len(images.classes))

    return call


def _hostile_rows(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    cells = ("", "-", "9" * 30, "9" * 5000, "-1", '"', '"a\nb"', "x" * 200_000, "²", "train", "val")
    for _ in range(rng.choice((0, 1, 1, 2)) if rows else 0):
        row = rng.randrange(len(rows))
        action = rng.randrange(5)
        if action == 0:
            rows[row][0] = rng.choice(_NAMES)
        elif action == 1:
            rows[row][rng.randrange(len(rows[row]))] = rng.choice(cells)
        elif action == 2:
            rows[row] = rows[row][: rng.randrange(len(rows[row]))]
            break
        elif action == 3:
            rows[row] = [*rows[row], "one", "more"]
        else:
            rows.append(list(rng.choice(rows)))
    return rows


def _perhaps_damage(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))


def _shard(rng: random.Random) -> Call:
    from mast_plugin.loading.shard import TarImages
    from mast_plugin.loading.shard_index import write_index

    members = material.members()
    Path("0.tar").write_bytes(material.shard(members))
    if rng.random() < 0.4:
        index = Path("0.idx")
        write_index(Path("0.tar"), index)
        index.write_bytes(damaged(index.read_bytes(), rng))
        os.utime(index, (2**31 - 1, 2**31 - 1))
    if rng.random() < 0.4:
        members.insert(rng.randint(0, len(members)), _hostile_member(rng))
        Path("0.tar").write_bytes(material.shard(members))
    if rng.random() < 0.6:
        _perhaps_damage(Path("0.tar"), rng)
    labelled = rng.random() < 0.7

    def call() -> None:
        images = TarImages([Path("0.tar")], labelled)
        for index in range(len(images)):
            images.open(index)

    return call


def _hostile_member(rng: random.Random) -> tuple[tarfile.TarInfo, bytes]:
    name = rng.choice(
        ("../up.png", "/abs.png", "9.png", "9.cls", "no suffix", "a b.png", "9.p\nng")
    )
    info, content = tarfile.TarInfo(name), material.image()
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
    if rng.random() < 0.5:
        info.type, info.linkname = rng.choice(kinds), rng.choice(("/etc/passwd", "../up.png", name))
        return info, b""
    if name.endswith("cls"):
        content = rng.choice((b"", b"-1", b"9" * 40, b"1e3", b"\xff", b"7" * 5000, b" 1\n"))
    info.size = len(content)
    if rng.random() < 0.3:
        size = rng.choice(("-1", "-512", "9" * 25, "1e9", str(2**40)))
        info.pax_headers = {"size": size, rng.choice(("path", "GNU.sparse.map")): "x"}
    return info, content


def _checkpoint(rng: random.Random) -> Call:
    from mast_plugin.evaluation.network.weight_file import read_weights
    from mast_plugin.running.resumption import read_checkpoint

    form = rng.choice(("ckpt", "ckpt", "legacy", "pth", "safetensors"))
    path = Path(f"a.{form}")
    chance = rng.random()
    if chance < 0.8:
        path.write_bytes(damaged(material.checkpoint(form), rng))
    else:
        path.write_bytes(_malicious(rng))
    read: Callable[[Path], Any] = rng.choice((read_weights, read_checkpoint))

    def call() -> None:
        try:
            read(path)
        finally:
            assert not Path("witness").exists(), "code in the file was run"

    return call


class Malice:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _malicious(rng: random.Random) -> bytes:
    harm: Any = rng.choice(
        (
            Malice(os.system, "touch witness"),
            Malice(eval, "open('witness', 'w')"),
            Malice(exec, "open('witness', 'w')"),
            Malice(getattr, Path("witness"), "touch"),
            Malice(Path.touch, Path("witness")),
        )
    )
    content = material.whole_checkpoint({"a": torch.zeros(2)})
    content[rng.choice(("loops", "state_dict", "lr_schedulers", "hyper_parameters", "new"))] = harm
    if rng.random() < 0.3:
        return pickle.dumps(content)
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=rng.random() < 0.7)
    return file.getvalue()


KINDS = (
    Kind("image", 20, _image),
    Kind("table of labels", 10, _label_table),
    Kind("table of images", 8, _image_table),
    Kind("tar shard", 10, _shard),
    Kind("checkpoint", 10, _checkpoint),
)
