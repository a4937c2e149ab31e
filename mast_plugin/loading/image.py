"""Image files: which there are, decoding one, checking many."""

import os
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from PIL import Image, UnidentifiedImageError
from torchvision.datasets.folder import IMG_EXTENSIONS as KNOWN_SUFFIXES

from mast_plugin.check import FLAG, NULL, whole
from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.loading.pixel import PixelError, rgb_of

# Of odd descriptions beside the pixels, by files that Pillow does not name; what is too large is
# refused below.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

Item = TypeVar("Item")
BIT_DEPTH = whole(8, 32) | NULL

IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
"""What a file may be, whatever its name says.

Of what else Pillow can read, PostScript is a program, which it has Ghostscript run, and most have
decoders that few have ever tested.
"""
_STARTS = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"RIFF": "WEBP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "BigTIFF",
    b"MM\0+": "BigTIFF",
}
_CONVERT = "convert it to .jpg or .png, or remove it"
SUFFIXES = (
    *KNOWN_SUFFIXES,
    *(".jfif", ".jpe", ".jif", ".jfi", ".pjpeg", ".pjp", ".dib", ".pbm", ".pnm"),
)
"""By which files are found in folders: torchvision's, and other spellings of the same formats.

Of animations and stacks of pages, the first picture is read; ``.gif`` is left out, as it is mostly
the former.
"""


@dataclass(frozen=True)
class Reading:
    """How files become images; :mod:`mast_plugin.loading.pixel` has the rules.

    Attributes:
        upright: turn photographs as their EXIF orientation says.
        bit_depth: of images with more than 8 bits a channel, in [8, 32]; ``None``: what their file
            states.
    """

    upright: bool = True
    bit_depth: int | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Reading":
        """What a configuration's section ``data`` says; the defaults where it is silent.

        Raises:
            ConfigurationError: a value that it cannot be.
        """
        upright, depth = data.get("exif_orientation", True), data.get("bit_depth")
        FLAG.check("data.exif_orientation", upright)
        BIT_DEPTH.check("data.bit_depth", depth)
        return cls(upright, depth)


AS_SHOWN = Reading()
"""Upright, as stored: what every viewer shows."""


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return name.lower().endswith(SUFFIXES)


def load_image(path: str, reading: Reading = AS_SHOWN) -> Image.Image:
    """Decode an image file as RGB.

    Raises:
        DataError: it is no file, or :func:`decoded` refuses it; the message names the file.
    """
    # Opening a pipe would wait for somebody to write to it; pathlib asks three times as long.
    if not os.path.isfile(path):  # noqa: PTH113
        raise _undecodable(path, "it is not there, or is no file", "put it there, or leave it out")
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (faster; of a path, Pillow would map some
            return decoded(file, path, reading)  # TIFFs into memory, and forget to turn them)
    except OSError as error:
        raise _undecodable(path, first_line(error)) from error


def decoded(source: IO[bytes], name: str, reading: Reading = AS_SHOWN) -> Image.Image:
    """Decode an image as RGB.

    Args:
        source: its bytes.
        name: for messages.
        reading: how.

    Raises:
        DataError: it cannot be decoded, is of a format that is not in ``IMAGE_FORMATS`` whatever
            its name says, has values that say no colours (:mod:`mast_plugin.loading.pixel`), or has
            more pixels than Pillow takes for harmless (``Image.MAX_IMAGE_PIXELS``, which a
            program may raise).
    """
    try:
        with Image.open(source, formats=IMAGE_FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if not image.width * image.height:
                raise ValueError("it has no pixels")
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError(
                    f"it has {image.width} x {image.height} pixels, above {limit:,}"
                )
            return rgb_of(image, upright=reading.upright, bit_depth=reading.bit_depth)
    except PixelError as error:
        raise _undecodable(name, str(error), error.mend) from error
    except UnidentifiedImageError as error:
        raise _undecodable(name, *_unidentified(source)) from error
    except Image.DecompressionBombError as error:
        mend = "scale it down, or cut it into parts"
        raise _undecodable(name, first_line(error), mend) from error
    except Exception as error:  # a decoder that meets damage raises of any kind
        raise _undecodable(name, first_line(error)) from error


def _unidentified(source: IO[bytes]) -> tuple[str, str]:
    """What a file is that Pillow knows no name for, and the mend."""
    source.seek(0)
    head = source.read(16)
    if not head:
        return "the file is empty", "copy it again, or remove it"
    if head[4:8] == b"ftyp":
        return "it is a HEIC or AVIF picture, or a video, whatever its name says", _CONVERT
    kinds = [kind for start, kind in _STARTS.items() if head.startswith(start)]
    if kinds:
        return f"it begins as a {kinds[0]}, but is of an unknown kind, or damaged", _CONVERT
    return f"it is none of {', '.join(IMAGE_FORMATS)}, whatever its name says", _CONVERT


def _undecodable(name: str, reason: str, mend: str = "repair it or remove it") -> DataError:
    return DataError(f"{name} cannot be read as an image ({reason}): {mend}")


def check_images(items: Collection[Item], load: Callable[[Item], Any] = load_image) -> None:  # type: ignore[assignment]
    """Decode every image once, in threads, with a progress bar where someone is watching.

    Args:
        items: the images' paths, or whatever ``load`` takes.
        load: decodes one image; raises :class:`DataError` where it cannot.

    Raises:
        DataError: naming the first that cannot be decoded, and how many others there are; standard
            error lists all of them where there are several.
    """
    from tqdm import tqdm

    def failure(item: Item) -> str | None:
        try:
            load(item)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        checked = tqdm(
            pool.map(failure, items),
            "Checking images",
            total=len(items),
            delay=1,
            leave=False,
            disable=None,
        )
        failures = [sentence for sentence in checked if sentence]
    refuse_failures(failures)


def refuse_failures(sentences: Sequence[str]) -> None:
    """Refuse images by what is wrong with each of them.

    Raises:
        DataError: the first sentence, and how many others there are; standard error lists all.
    """
    if len(sentences) > 1:
        print(*sentences, sep="\n", file=sys.stderr)
        raise DataError(f"{sentences[0]} (and {len(sentences) - 1} more)")
    if sentences:
        raise DataError(sentences[0])
