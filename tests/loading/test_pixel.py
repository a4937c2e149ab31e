"""What images of every kind become: the same for Pillow's path and for DALI's, or refused."""

import io

import numpy as np
import pytest
from PIL import Image

from mast_plugin.errors import DataError
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.loading.image import Reading, load_image

Y, X = np.mgrid[0:24, 0:40]
GREY = (X * 6).astype(np.uint8)
RGB = np.stack([X * 6, Y * 10, (X + Y) * 4], -1).astype(np.uint8)
RGBA = np.dstack([RGB, (Y * 10).astype(np.uint8)])
ORIENTATION = 0x0112


def write(folder, name, pixels, **options):
    path = folder / name
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return str(path)


def pixels_of(path, **reading):
    return np.asarray(load_image(path, Reading(**reading)))


def by_dali(path, **reading):
    """What DALI's side of the loader makes of a file, before any augmentation."""
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def

    from mast_plugin.loading.dali.decoding import decoded
    from mast_plugin.loading.dali.source import Files

    source = Files([(path, 0)], Reading(**reading))
    fed = source.feed(np.array([0]), np.array([], int))

    @pipeline_def(enable_conditionals=True, batch_size=1, num_threads=1, device_id=None)
    def pipeline():
        encoded = source.read(fn.external_source(source=lambda: fed, batch=True))
        return decoded(encoded, "cpu", source.reading.upright)

    built = pipeline()
    built.build()
    (images,) = built.run()
    return np.array(images.at(0))


# --- depth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "type_", "bits", "given"),
    [
        ("a.png", "u2", 16, None),
        ("a.tif", "u2", 16, None),
        ("a.tif", ">u2", 16, None),
        ("a.pgm", "u2", 16, None),
        ("a.png", "u2", 12, 12),
        ("a.tif", "u2", 10, 10),
        ("a.tif", "i4", 20, 20),
    ],
)
def test_integers_keep_their_eight_highest_bits_on_both_paths(name, type_, bits, given, tmp_path):
    path = write(tmp_path, name, (GREY.astype(np.int64) << (bits - 8)).astype(type_))
    expected = np.repeat(GREY[..., None], 3, -1)
    assert np.array_equal(pixels_of(path, bit_depth=given), expected)
    assert np.array_equal(by_dali(path, bit_depth=given), expected)


def test_colours_of_sixteen_bits_are_scaled_as_greys_are(tmp_path):
    import zlib
    from struct import pack

    rows = (RGB.astype(">u2") * 257).reshape(24, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", pack(">IIBBBBB", 40, 24, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(data))]
    parts = [
        pack(">I", len(d)) + k + d + pack(">I", zlib.crc32(k + d))
        for k, d in [*chunks, (b"IEND", b"")]
    ]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    path = str(tmp_path / "a.png")
    assert np.array_equal(pixels_of(path), RGB)
    assert np.array_equal(by_dali(path), RGB)
    with pytest.raises(DataError, match=r"of which data\.bit_depth=12 cannot be read"):
        pixels_of(path, bit_depth=12)


def test_white_may_be_zero(tmp_path):
    values = GREY.astype(np.uint16) << 8
    path = write(tmp_path, "a.tif", values, tiffinfo={262: 0})
    assert np.array_equal(pixels_of(path)[..., 0], (65535 - values) >> 8)


@pytest.mark.parametrize(
    ("pixels", "given", "message"),
    [
        (X.astype(np.float32), None, "floating-point values.*save it with integers of 8 or 16"),
        (X.astype(np.float32), 8, "floating-point values"),
        (X.astype(np.int32), None, "signed integers, whose range is not known.*data.bit_depth"),
        (X.astype(np.int32) - 5, 16, "values below 0"),
        ((X * 100).astype(np.uint16), None, "no value above 3900.*data.bit_depth.*such as 12"),
        ((X * 200).astype(np.uint16), 12, "value 7800 takes more than 12 bits.*raise data.bit"),
    ],
)
def test_what_cannot_be_known_is_refused(pixels, given, message, tmp_path):
    with pytest.raises(DataError, match=rf"a.tif cannot be read as an image .*{message}"):
        pixels_of(write(tmp_path, "a.tif", pixels), bit_depth=given)


def test_a_dark_image_of_a_known_depth_and_a_black_one_are_read(tmp_path):
    dark = write(tmp_path, "a.png", (X * 100).astype(np.uint16))
    assert np.array_equal(pixels_of(dark, bit_depth=16)[..., 0], X * 100 >> 8)
    assert not pixels_of(write(tmp_path, "b.png", (X * 0).astype(np.uint16))).any()


# --- bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGBA", {}),
        ("a.webp", "RGBA", {"lossless": True, "exact": True}),
        ("a.tif", "RGBA", {}),
        ("a.tif", "RGBX", {}),
        ("a.png", "LA", {}),
    ],
)
def test_alpha_and_a_fourth_band_are_left_out_on_both_paths(name, mode, options, tmp_path):
    path = write(tmp_path, name, Image.fromarray(RGBA, "RGBA").convert(mode), **options)
    grey = np.asarray(Image.fromarray(RGB).convert("L"))
    expected = np.repeat(grey[..., None], 3, -1) if mode == "LA" else RGB
    assert np.array_equal(pixels_of(path), expected)
    assert np.array_equal(by_dali(path), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_four_inks_give_the_same_colours_on_both_paths(name, tmp_path):
    path = write(tmp_path, name, Image.fromarray(RGB).convert("CMYK"))
    assert np.array_equal(by_dali(path), pixels_of(path))


def test_more_than_four_bands_are_refused(tmp_path):
    """Pillow would keep three of them without a word."""
    from struct import pack

    entries = [(256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 5, 134), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 144), (277, 3, 1, 5), (278, 3, 1, 4), (279, 4, 1, 80), (338, 3, 2, 0)]
    directory = pack("<H", len(entries)) + b"".join(pack("<HHII", *entry) for entry in entries)
    content = b"II*\0" + pack("<I", 8) + directory + bytes(4) + pack("<5H", *[8] * 5) + bytes(80)
    (tmp_path / "a.tif").write_bytes(content)
    assert load_image_of_pillow(tmp_path / "a.tif").mode == "RGB"
    with pytest.raises(DataError, match=r"it has 5 bands\): save three of them as an RGB image"):
        pixels_of(str(tmp_path / "a.tif"))


def load_image_of_pillow(path):
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a.ppm", "b.png", "c.jfif"])
def test_what_dali_does_not_decode_alike_is_decoded_by_pillow(name, tmp_path):
    """A GIF under another name, too: what counts is what is in the file."""
    image = Image.fromarray(RGB)
    saved = image.quantize(16) if name == "b.png" else image
    path = write(tmp_path, name, saved, format="JPEG" if name == "c.jfif" else None)
    assert np.array_equal(by_dali(path), pixels_of(path))


# --- orientation ----------------------------------------------------------------------------------

SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_photographs_stand_upright_on_both_paths_unless_told_otherwise(
    format_, orientation, tmp_path
):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format_, {})
    plain = pixels_of(write(tmp_path, "plain", RGB, format=format_, **options))
    path = write(tmp_path, "turned", RGB, format=format_, exif=exif, **options)
    shown = SHOWN[orientation](plain)
    assert np.array_equal(pixels_of(path), shown)
    assert np.array_equal(by_dali(path), shown)
    assert np.array_equal(pixels_of(path, upright=False), plain)
    assert np.array_equal(by_dali(path, upright=False), plain)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_an_orientation_behind_the_pixels_counts_and_a_damaged_one_does_not(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = write(tmp_path, "a.png", RGB, exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    moved = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    (tmp_path / "a.png").write_bytes(moved)
    assert np.array_equal(pixels_of(path), SHOWN[6](RGB))
    assert np.array_equal(by_dali(path), SHOWN[6](RGB))
    bad = write(tmp_path, "b.jpg", RGB, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert pixels_of(bad).shape == RGB.shape


@pytest.mark.parametrize("orientation", SHOWN)
def test_deep_images_are_turned_as_well(orientation, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = write(tmp_path, "a.tif", GREY.astype(np.uint16) << 8, exif=exif)
    assert np.array_equal(pixels_of(path)[..., 0], SHOWN[orientation](GREY))
    assert np.array_equal(pixels_of(path, upright=False)[..., 0], GREY)
    assert np.array_equal(by_dali(path)[..., 0], SHOWN[orientation](GREY))


def test_an_evaluation_reads_as_its_view_says(tmp_path):
    """Its features are of the upright picture, or of the stored one."""
    import torch

    exif = Image.Exif()
    exif[ORIENTATION] = 8
    path = write(tmp_path, "a.png", RGB[:24, :24], exif=exif)

    def features(statistics):
        view, reading = statistics.centred(), statistics.reading
        return extract_features(torch.nn.Flatten(), [path], view, reading=reading)

    stored = features(ViewStatistics(24, reading=Reading(upright=False))).view(3, 24, 24)
    assert torch.equal(features(ViewStatistics(24)).view(3, 24, 24), stored.rot90(1, (1, 2)))


def test_a_shard_is_read_by_the_same_rule(tmp_path):
    pytest.importorskip("nvidia.dali")
    import tarfile

    from mast_plugin.loading.dali.source import Shards
    from mast_plugin.loading.shard import TarImages

    encoded = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16) << 4).save(encoded, "PNG")
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        info = tarfile.TarInfo("0.png")
        info.size = len(encoded.getvalue())
        tar.addfile(info, io.BytesIO(encoded.getvalue()))
    images = TarImages([tmp_path / "0.tar"], labelled=False, reading=Reading(bit_depth=12))
    (fed,) = Shards(images).feed(np.array([0]), np.array([], int))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(fed.tobytes())))[..., 0], GREY)
    assert np.array_equal(np.asarray(images.open(0))[..., 0], GREY)


# --- what DALI must not be given ------------------------------------------------------------------


def jpeg(mode="RGB", *blocks, **options):
    """A JPEG with EXIF blocks in front."""
    file = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(file, "JPEG", **options)
    content = file.getvalue()
    parts = [b"\xff\xe1" + (len(b) + 8).to_bytes(2, "big") + b"Exif\0\0" + b for b in blocks]
    return content[:2] + b"".join(parts) + content[2:]


def tiff(kind, count=1, entries=1):
    """An EXIF block that states orientation 6, in some type and number of values."""
    from struct import pack

    return b"II*\0" + pack("<IHHHIHH", 8, entries, ORIENTATION, kind, count, 6, 0) + bytes(4)


def without_adobe(content):
    start = content.index(b"\xff\xee")
    return content[:start] + content[start + 2 + int.from_bytes(content[start + 2 : start + 4]) :]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("content", "is_given"),
    [
        (jpeg("RGB", tiff(3)), True),
        (jpeg("L"), True),
        (jpeg("RGB", progressive=True), True),
        (jpeg("RGB", tiff(1)), False),
        (jpeg("RGB", tiff(7)), False),
        (jpeg("RGB", tiff(3, count=0)), False),
        (jpeg("RGB", tiff(3, entries=65535)), False),
        (jpeg("RGB", tiff(3), tiff(3)), False),
        (jpeg("RGB", b"XX*\0"), False),
        (jpeg("CMYK", tiff(3)), False),
        (without_adobe(jpeg("CMYK")), False),
    ],
)
def test_a_jpeg_that_dali_reads_otherwise_is_decoded_by_pillow(content, is_given, tmp_path):
    """Of two EXIF blocks, and of one that ends early, DALI 2.4 may end the process."""
    from mast_plugin.loading.dali.plain import is_plain

    (tmp_path / "a.jpg").write_bytes(content)
    path = str(tmp_path / "a.jpg")
    assert is_plain(io.BytesIO(content)) is is_given
    assert np.array_equal(by_dali(path), pixels_of(path))


def test_of_png_and_webp_only_the_kinds_without_an_orientation_are_given_to_dali(tmp_path):
    from mast_plugin.loading.dali.plain import is_plain

    def given(format_, **options):
        path = write(tmp_path, "a", RGB, format=format_, **options)
        assert np.array_equal(by_dali(path), pixels_of(path))
        with (tmp_path / "a").open("rb") as file:
            return is_plain(file)

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for format_ in ("PNG", "WEBP"):
        assert given(format_) and not given(format_, exif=exif)


# --- what is no image -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty\): copy it again, or remove it"),
        (b"\0\0\0\x18ftypheic", r"a HEIC or AVIF picture.*\): convert it to \.jpg or \.png"),
        (b"II*\0" + bytes(40), r"begins as a TIFF, but is of an unknown kind.*: convert it"),
        (b"<html>404</html>", r"none of JPEG, PNG,.* whatever its name says\): convert it"),
        (b"P5 20000 20000 255\n", r"400000000 pixels.*: scale it down, or cut it into parts"),
    ],
)
def test_a_file_that_is_no_image_is_said_to_be_what_it_is(content, message, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jpg cannot be read as an image \(.*{message}"):
        pixels_of(str(tmp_path / "a.jpg"))


@pytest.mark.slow
def test_what_pillow_says_of_odd_descriptions_is_kept_from_the_user(tmp_path):
    import subprocess
    import sys

    palette = Image.fromarray(RGB).quantize(4)
    palette.save(tmp_path / "a.png", transparency=bytes(range(4)))
    (tmp_path / "b.jpg").write_bytes(jpeg("RGB", tiff(3, entries=2)))
    paths = [str(tmp_path / name) for name in ("a.png", "b.jpg")]
    program = "from mast_plugin.loading.image import load_image\n"
    program += f"for p in {paths}: print(load_image(p).size)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("(40, 24)\n(24, 40)\n", "")
