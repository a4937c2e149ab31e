"""Image files: which there are, decoding one, checking many."""

import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from mast_plugin.errors import DataError

Item = TypeVar("Item")


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return path.name.lower().endswith(IMG_EXTENSIONS)


def load_image(path: str) -> Image.Image:
    """Decode an image as RGB.

    Raises:
        DataError: it cannot be decoded; the message names the file.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as an image ({error}): repair it or remove it"
        ) from error


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
