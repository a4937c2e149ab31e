"""Scenes of one digit: the images of the embedded dataset, and what is known of each.

Every image shows one 8 x 8 scan from scikit-learn's bundled handwritten digits, in one of several
hues, positions and sizes, on one of several textures.  So the same images carry tasks that need
different invariances: what helps to read the digit (ignore the colour, ignore the place) hurts
another task.

The arithmetic is the same bit for bit on every machine: no library resamples an image, and
randomness is the raw stream of a bit generator, which numpy keeps stable across its releases.
"""

import colorsys
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Split: TypeAlias = Literal["train", "val"]
Scans: TypeAlias = dict[int, NDArray[np.float64]]
Labels: TypeAlias = dict[str, str]
Range: TypeAlias = tuple[float, float]

SPLITS: tuple[Split, Split] = ("train", "val")
POSITIONS = ("top left", "top right", "bottom left", "bottom right")
SIZES = ("small", "medium", "large")
BACKGROUNDS = ("plain", "rows", "columns", "checks")
TASKS = ("digit", "hue", "position", "size", "background")


@dataclass(frozen=True)
class Specification:
    """What the dataset consists of.  Equal specifications give equal pixels, and share one folder.

    A range is the least and the greatest value, drawn between uniformly.

    Attributes:
        train: number of training images.
        val: number of validation images; their scans are never used for training.
        side_px: width and height of an image.
        hues: number of hue classes, evenly spaced on the colour wheel.
        hue_spread: width of a hue class, as a share of the distance between two; in [0, 1].
        sizes_px: edge of the scan's square for each of the three sizes.
        size_spread_px: half-width of a size class.
        shift_px: range of the scan's distance from the middle of the image, on each axis.
        ink_saturation: range, in [0, 1]; like the other three of colour, in HSV.
        ink_brightness: range, in [0, 1].
        paper_saturation: range, in [0, 1].
        paper_brightness: range, in [0, 1].
        contrast: range of the brightness that a texture adds, in [0, 1].  The strongest lever on
            the difficulty: textures survive every augmentation, so that a network that sees them
            well has no need to read the digits.
        stripe_px: range of the width of a stripe.
        seed: seed of the one random stream of each split.
        recipe: version of the drawing code; raise it whenever the code changes a pixel.
    """

    train: int = 4096
    val: int = 1024
    side_px: int = 32
    hues: int = 6
    hue_spread: float = 0.5
    sizes_px: tuple[float, float, float] = (24.0, 27.0, 30.0)
    size_spread_px: float = 0.5
    shift_px: Range = (1.5, 2.5)
    ink_saturation: Range = (0.6, 1.0)
    ink_brightness: Range = (0.75, 1.0)
    paper_saturation: Range = (0.0, 0.4)
    paper_brightness: Range = (0.1, 0.45)
    contrast: Range = (0.05, 0.12)
    stripe_px: tuple[int, int] = (3, 5)
    seed: int = 0
    recipe: int = 1

    def count(self, split: Split) -> int:
        """Number of images of a split."""
        return self.train if split == "train" else self.val

    @property
    def folder(self) -> str:
        """Name of the dataset's folder: it changes with everything that may change a pixel."""
        return f"digits-{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"


class _Dice:
    """Uniform draws in a fixed order, from a stream that does not depend on numpy's version."""

    def __init__(self, seed: int, split: Split) -> None:
        self._bits = np.random.PCG64([seed, SPLITS.index(split)])

    def between(self, low: float, high: float) -> float:
        """A real number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """An integer in [0, count)."""
        return int(self.between(0, count))


def draw(specification: Specification, split: Split) -> Iterator[tuple[NDArray[np.uint8], Labels]]:
    """Draws the images of a split, one after the other.

    Yields:
        The image, (side, side, 3), and its class in each of :data:`TASKS`.
    """
    scans = digit_scans(split)
    dice = _Dice(specification.seed, split)
    for number in range(specification.count(split)):
        digit = number % 10
        scan = scans[digit][dice.below(len(scans[digit]))]
        image, labels = _draw_scene(scan, specification, dice)
        yield image, {"digit": str(digit)} | labels


def digit_scans(split: Split) -> Scans:
    """The scans of a split: of each digit's scans, every fifth one is kept for validation.

    Returns:
        For each digit its scans, (count, 8, 8), ink in [0, 1].
    """
    # A second of imports, which a dataset that is already written does not need.
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans: Scans = {}
    for digit in range(10):
        own = digits.images[digits.target == digit] / 16.0
        held_out = np.arange(len(own)) % 5 == 4
        scans[digit] = own[held_out if split == "val" else ~held_out]
    return scans


def _draw_scene(
    scan: NDArray[np.float64], specification: Specification, dice: _Dice
) -> tuple[NDArray[np.uint8], Labels]:
    """Draws one scan into a scene.  The order of the draws is part of the recipe."""
    hue, position = dice.below(specification.hues), dice.below(len(POSITIONS))
    size, background = dice.below(len(SIZES)), dice.below(len(BACKGROUNDS))
    ink = _draw_ink(hue, specification, dice)
    paper = _draw_paper(background, specification, dice)

    spread_px = specification.size_spread_px
    edge_px = specification.sizes_px[size] + dice.between(-spread_px, spread_px)
    down, right = (1 if position & 2 else -1), (1 if position & 1 else -1)
    centre_y = specification.side_px / 2 + down * dice.between(*specification.shift_px)
    centre_x = specification.side_px / 2 + right * dice.between(*specification.shift_px)
    cover = _place(scan, specification.side_px, edge_px, centre_y, centre_x)[..., None]

    image = paper + cover * (ink - paper)
    labels = {
        "hue": str(hue * 360 // specification.hues),
        "position": POSITIONS[position],
        "size": SIZES[size],
        "background": BACKGROUNDS[background],
    }
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), labels


def _draw_ink(hue: int, specification: Specification, dice: _Dice) -> NDArray[np.float64]:
    """A colour of a hue class, (3,)."""
    spread = specification.hue_spread / 2
    turns = (hue + dice.between(-spread, spread)) / specification.hues
    return _draw_colour(turns, specification.ink_saturation, specification.ink_brightness, dice)


def _draw_paper(background: int, specification: Specification, dice: _Dice) -> NDArray[np.float64]:
    """A background of any hue, (side, side, 3), with one of the textures on it."""
    turns = dice.between(0, 1)
    colour = _draw_colour(
        turns, specification.paper_saturation, specification.paper_brightness, dice
    )
    contrast = dice.between(*specification.contrast)
    narrowest, widest = specification.stripe_px
    width_px = narrowest + dice.below(widest - narrowest + 1)
    side_px = specification.side_px
    stripe = (np.arange(side_px) + dice.below(2 * width_px)) // width_px % 2
    rows = np.broadcast_to(stripe[:, None], (side_px, side_px))
    textures = {"plain": 0 * rows, "rows": rows, "columns": rows.T, "checks": rows ^ rows.T}
    paper: NDArray[np.float64] = colour + contrast * textures[BACKGROUNDS[background]][..., None]
    return paper


def _draw_colour(
    turns: float, saturation: Range, brightness: Range, dice: _Dice
) -> NDArray[np.float64]:
    return np.array(
        colorsys.hsv_to_rgb(turns % 1, dice.between(*saturation), dice.between(*brightness))
    )


def _place(
    scan: NDArray[np.float64], side_px: int, edge_px: float, centre_y: float, centre_x: float
) -> NDArray[np.float64]:
    """Enlarges a scan to ``edge_px`` about a centre, bilinearly; (side, side), zero around it.

    Only sums and products of single elements: these round alike on every machine, which a
    library's resampling need not.
    """
    padded = np.pad(scan, 1)
    last = len(padded) - 1

    def neighbours(centre: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        pixel = np.arange(side_px) + 0.5
        place = (pixel - centre) * (len(scan) / edge_px) + len(padded) / 2 - 0.5
        place = np.clip(place, 0, last)
        before = np.minimum(place.astype(np.intp), last - 1)
        return before, place - before

    top, down = neighbours(centre_y)
    left, right = neighbours(centre_x)
    lines = padded[top] * (1 - down)[:, None] + padded[top + 1] * down[:, None]
    return lines[:, left] * (1 - right) + lines[:, left + 1] * right
