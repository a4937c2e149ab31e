"""Image files: which there are, decoding one, checking many."""

import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from mast_plugin.document import first_line
from mast_plugin.errors import DataError

Item = TypeVar("Item")

FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
"""What a file may be, whatever its name says.

Of what else Pillow can read, PostScript is a program, which it has Ghostscript run, and most have
decoders that few have ever tested.
"""


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return path.name.lower().endswith(IMG_EXTENSIONS)


def load_image(path: str) -> Image.Image:
    """Decode an image file as RGB.

    Raises:
        DataError: it is no file, or :func:`decoded` refuses it; the message names the file.
    """
    if not Path(path).is_file():  # opening a pipe would wait for somebody to write to it
        raise _undecodable(path, "it is not there, or is no file")
    return decoded(path, path)


def decoded(source: str | IO[bytes], name: str) -> Image.Image:
    """Decode an image as RGB.

    Args:
        source: a file's path, or its bytes.
        name: for messages.

    Raises:
        DataError: it cannot be decoded, is of a format that is not in ``FORMATS`` whatever its name
            says, or has more pixels than Pillow takes for harmless (``Image.MAX_IMAGE_PIXELS``,
            which a program may raise).
    """
    try:
        with Image.open(source, formats=FORMATS) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if not image.width * image.height:
                raise ValueError("it has no pixels")
            if limit is not None and image.width * image.height > limit:
                raise ValueError(f"it has {image.width} x {image.height} pixels, above {limit:,}")
            return image.convert("RGB")
    except Exception as error:  # a decoder that meets damage raises of any kind
        raise _undecodable(name, first_line(error)) from error


def _undecodable(name: str, reason: str) -> DataError:
    return DataError(f"{name} cannot be read as an image ({reason}): repair it or remove it")


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
    if len(failures) > 1:
        print(*failures, sep="\n", file=sys.stderr)
        raise DataError(f"{failures[0]} (and {len(failures) - 1} more)")
    if failures:
        raise DataError(failures[0])
