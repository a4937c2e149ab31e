"""Which encoded images DALI decodes to the pixels that Pillow makes of them, by their first bytes.

JPEG (grey, RGB, CMYK), PNG of up to 8 bits (palettes and transparency included) and WebP, EXIF
orientation included: all equal, pixel by pixel. Of 16-bit images DALI makes something else, GIF it
does not know, and of TIFF, PNM and BMP there are too many kinds to vouch for.
"""

from PIL import Image

HEAD_BYTES = 32
_PNG = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH, _WEBP_FLAGS, _ANIMATED = 24, 20, 2


def is_plain(head: bytes) -> bool:
    """Whether DALI may decode an image.

    Args:
        head: its first ``HEAD_BYTES`` bytes, or fewer where there are no more.
    """
    if head[:3] == b"\xff\xd8\xff":
        return True
    if head[:8] == _PNG and len(head) > _BIT_DEPTH:
        return head[_BIT_DEPTH] <= 8
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) > _WEBP_FLAGS:
        return not (head[12:16] == b"VP8X" and head[_WEBP_FLAGS] & _ANIMATED)
    return False


def as_pnm(image: Image.Image) -> bytes:
    """An RGB image in the format that costs nothing to decode."""
    return b"P6\n%d %d\n255\n" % image.size + image.tobytes()
