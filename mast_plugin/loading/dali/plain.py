"""Which encoded images DALI decodes to the pixels that Pillow makes of them, by their headers.

JPEG (grey or in colours, of 8 bits), PNG of up to 8 bits (palettes and transparency included) and
simple WebP: all equal, pixel by pixel. A JPEG may have one EXIF block, whose orientation is written
as the standard has it. Of any other block DALI reads another orientation than Pillow, or ends the
process (2.4); of four inks it mixes other colours; of 16-bit images it makes something else; GIF it
does not know; and of TIFF, PNM and BMP there are too many kinds to vouch for.
"""

import struct
from typing import IO

from PIL import Image

_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_APP1, _SCAN = 0xE1, 0xDA
_FRAMES = range(0xC0, 0xC3)
"""Baseline, extended and progressive JPEG; the others are rare, and little tested anywhere."""
_OTHER_FRAMES = frozenset((*range(0xC3, 0xD0),)) - {0xC4, 0xC8, 0xCC}
_ORIENTATION, _SHORT = 274, 3


def is_plain(file: IO[bytes]) -> bool:
    """Whether DALI may decode an image.

    Args:
        file: the encoded image, at its start; only its headers are read.
    """
    head = file.read(16)
    if head[:3] == b"\xff\xd8\xff":
        file.seek(2)
        return _is_plain_jpeg(file)
    if head[:8] == _PNG:
        file.seek(8)
        return _is_plain_png(file)
    return head[:4] == b"RIFF" and head[8:] in (b"WEBPVP8 ", b"WEBPVP8L")


def as_pnm(image: Image.Image) -> bytes:
    """An RGB image in the format that costs nothing to decode."""
    return b"P6\n%d %d\n255\n" % image.size + image.tobytes()


def _is_plain_jpeg(file: IO[bytes]) -> bool:
    """From the first marker up to the pixels."""
    framed = described = False
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        marker, size = head[1], int.from_bytes(head[2:], "big") - 2
        if marker == _SCAN:
            return framed
        if marker in _OTHER_FRAMES or size < 0:
            return False
        if marker in _FRAMES:
            frame = file.read(size)
            framed = len(frame) > 5 and frame[0] == 8 and frame[5] in (1, 3)
            if not framed:
                return False
        elif marker == _APP1:
            content = file.read(size)
            if content.startswith(b"Exif"):
                if described or not _is_plain_exif(content):
                    return False
                described = True
        else:
            file.seek(size, 1)
    return False


def _is_plain_exif(block: bytes) -> bool:
    """Whether everybody reads the same orientation, or none, in an EXIF block."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[6:10])
    if not block.startswith(_EXIF) or order is None:
        return False
    tiff = block[6:]
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        entries = [
            struct.unpack_from(f"{order}HHIHH", tiff, start + 2 + 12 * n) for n in range(count)
        ]
    except struct.error:
        return False
    stated = [entry[1:3] for entry in entries if entry[0] == _ORIENTATION]
    return stated in ([], [(_SHORT, 1)])


def _is_plain_png(file: IO[bytes]) -> bool:
    """From the first chunk to the last, as a PNG may state its orientation behind the pixels."""
    shallow = False
    while len(head := file.read(8)) == 8:
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IHDR":
            header = file.read(size)
            shallow = len(header) == 13 and header[8] <= 8
            file.seek(4, 1)
        elif kind == b"eXIf":
            return False
        else:
            file.seek(size + 4, 1)
    return shallow
