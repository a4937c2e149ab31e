"""From what an image file holds to eight bits of red, green and blue; one rule for every loader.

- Integers of more than eight bits keep their eight highest bits, counted from the top of the depth
  that the file states, or of ``data.bit_depth``. Nothing is clipped: a value above that depth is
  refused, and so are 16-bit images in which no value needs more than 12 bits, unless the depth is
  given: cameras of 10 and 12 bits write such files, and they would come out black.
- Ranges that no file states (floating point, signed and 32-bit integers) are refused.
- Alpha, and a fourth band that means nothing, are left out: colours are as they are stored, also
  under transparent pixels. CMYK is converted. More than four bands are refused.
- A grey image has its value in all three channels, a palette gives its colours.

This project's choice throughout, but for alpha and palettes, which are read as torchvision's loader
reads them. No part of it depends on an image's own darkest or brightest value, so that brightness
means the same everywhere in a collection.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_DARK_BITS = 12
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 262, 277, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_ORIENTATION = 274

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each EXIF orientation takes to be seen as it was meant; 1 takes nothing."""


class PixelError(ValueError):
    """An image's values say no colours; ``mend`` is what to do about it."""

    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(reason)
        self.mend = mend


def rgb_of(image: Image.Image, *, upright: bool, bit_depth: int | None) -> Image.Image:
    """Decode an opened image as 8-bit RGB.

    Args:
        image: opened, not yet loaded.
        upright: turn it as its EXIF orientation says (the tag alone; XMP's copy is not looked at).
        bit_depth: of images with more than 8 bits a channel, in [8, 32]; ``None``: what their file
            states.

    Raises:
        PixelError: its values cannot be scaled, or it has more than four bands.
        Exception: of any kind, from a decoder that meets damage.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(_SAMPLES_PER_PIXEL, 1) > 4:
        raise PixelError(
            f"it has {tags[_SAMPLES_PER_PIXEL]} bands", "save three of them as an RGB image"
        )
    turn = tags.get(_ORIENTATION, 1)  # Pillow drops it when it loads the pixels
    if image.mode in ("RGB", "L") and not tags and not _is_wide(image):
        rgb = image.convert("RGB")  # most images, at no cost
    else:
        rgb = _narrowed(image, tags, bit_depth)
    if tags:  # Pillow has turned a TIFF by itself
        return rgb if upright else _turned(rgb, {6: 8, 8: 6}.get(turn, turn))
    return _turned(rgb, _exif_orientation(image)) if upright else rgb


def _narrowed(image: Image.Image, tags: Any, bit_depth: int | None) -> Image.Image:
    if image.mode == "F":
        raise PixelError(
            "it holds floating-point values, whose range is not known",
            "save it with integers of 8 or 16 bits",
        )
    if image.mode.startswith("I"):
        return _from_grey(image, tags, bit_depth)
    if _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise PixelError("it holds signed colours", "save it without signs")
    if not _is_wide(image):
        return image.convert("RGB")
    if bit_depth not in (None, 16):
        raise PixelError(
            f"its colours have 16 bits a channel, of which data.bit_depth={bit_depth} cannot be "
            "read",
            "scale them to all 16 bits, or save them with 8",
        )
    rgb = image.convert("RGB")  # the eight highest bits of each channel
    brightest = max(high for _, high in rgb.getextrema())  # type: ignore[misc]
    _refuse_dark((int(brightest) << 8) | (0xFF if brightest else 0), bit_depth)
    return rgb


def _from_grey(image: Image.Image, tags: Any, bit_depth: int | None) -> Image.Image:
    """One channel of 12, 16 or 32 bits."""
    scaled = image.format == "PPM" and _tile(image)[0] != "raw"  # by Pillow, from the file's most
    stored = 16 if image.format == "PPM" else max(tags.get(_BITS_PER_SAMPLE, (16,)))
    signed = _SIGNED in tags.get(_SAMPLE_FORMAT, ())
    bits = stored if scaled or bit_depth is None else bit_depth
    if bit_depth is None and (signed or stored == 32):
        raise PixelError(
            f"it holds {'signed' if signed else '32-bit'} integers, whose range is not known",
            "set data.bit_depth to the bits that they use, or save it with 16 bits without signs",
        )
    image.load()  # which may turn it: numpy asks for its shape first
    values: npt.NDArray[Any] = np.asarray(image).astype(np.int64)
    if stored == 32 and not signed:
        values &= 0xFFFFFFFF  # Pillow counts them with a sign
    top = int(values.max())
    if int(values.min()) < 0:
        raise PixelError("it holds values below 0", "save it without signs")
    if top >= 1 << bits:
        raise PixelError(
            f"its value {top} takes more than {bits} bits", f"raise data.bit_depth from {bits}"
        )
    if bits == 16 and not scaled:
        _refuse_dark(top, bit_depth)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = (1 << bits) - 1 - values
    return Image.fromarray((values >> (bits - 8)).astype(np.uint8)).convert("RGB")


def _refuse_dark(top: int, bit_depth: int | None) -> None:
    if bit_depth is None and 0 < top < 1 << _DARK_BITS:
        raise PixelError(
            f"its 16 bits hold no value above {top}, so that it would be black",
            f"set data.bit_depth to the bits that the camera has, such as {_DARK_BITS}, or to 16 "
            "if it is that dark",
        )


def _is_wide(image: Image.Image) -> bool:
    """Whether a file has 16 bits a channel, of which Pillow keeps eight."""
    raw = _tile(image)[-1]
    return ";16" in str(raw[0] if isinstance(raw, tuple) and raw else raw)


def _tile(image: Image.Image) -> Any:
    """How Pillow is going to decode: decoder, box, offset, and the layout of the bytes."""
    tiles = getattr(image, "tile", None)
    return tiles[0] if tiles else (None, None, None, None)


def _exif_orientation(image: Image.Image) -> Any:
    """Read after the pixels, as a PNG may state it behind them."""
    stated = image.info.get("exif")
    if not stated:
        return 1
    exif = Image.Exif()
    try:
        exif.load(stated)
        return exif.get(_ORIENTATION, 1)
    except Exception:  # damage beside the pixels is no reason to refuse them
        return 1


def _turned(image: Image.Image, orientation: Any) -> Image.Image:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)
