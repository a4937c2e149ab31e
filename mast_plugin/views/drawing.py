"""How the parameters of one application are drawn, for every interpreter alike.

An interpreter either calls :func:`draw`, or draws by its own means from :func:`ranges`; tests hold
the two against each other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.augmentation_type import Ranges
from mast_plugin.views.plan import Plan

CROP_ATTEMPTS = 10
"""Boxes tried before a crop falls back to the largest centred one, as in torchvision."""


def ranges(augmentation: Augmentation) -> Ranges:
    """What is drawn uniformly and independently for one application.

    Returns:
        Name to (low, high). Factors multiply (1 is the identity), ``hue_turns`` counts turns,
        ``sigma_px`` pixels of the view, angles degrees, shifts shares of the side, ``threshold``
        the share of the value range, ``scale`` and ``area`` shares of the image's area, and
        ``log_ratio`` is the natural logarithm of width / height.
    """
    return augmentation.type.drawn(augmentation.settings)


def is_switch(augmentation: Augmentation, *others: Augmentation) -> bool:
    """Whether it is merely applied or not, without anything that is drawn.

    The place of a box is drawn whatever its size.

    Args:
        augmentation: the type, as it is configured.
        others: the same type, as other views have it; what differs between views is as good as
            drawn.
    """
    if augmentation.name in ("crop", "erasing"):
        return False
    limits = ranges(augmentation)
    fixed = all(low == high for low, high in limits.values())
    return fixed and all(ranges(other) == limits for other in others)


def draw(
    augmentation: Augmentation, image_size: tuple[int, int], rng: random.Random
) -> dict[str, float]:
    """Draws the parameters of one application.

    Args:
        augmentation: what is applied; its ``prob`` is the caller's business.
        image_size: (height, width) in pixels of the image that it will be applied to.
        rng: source of randomness.

    Returns:
        The names of :func:`ranges` to numbers; for crop and erasing a box instead: ``top_px``,
        ``left_px``, ``height_px`` and ``width_px``, whole numbers of pixels inside the image.
    """
    if augmentation.name == "crop":
        return _crop_box(ranges(augmentation), image_size, rng)
    drawn = {name: rng.uniform(low, high) for name, (low, high) in ranges(augmentation).items()}
    if augmentation.name == "erasing":
        return _erased_box(drawn, image_size, rng)
    return drawn


def draw_view(
    plan: Plan,
    image_size: tuple[int, int],
    rng: random.Random,
    active: Sequence[bool] | None = None,
) -> dict[str, dict[str, float]]:
    """Draws which types act on one view, and their parameters.

    Args:
        plan: of the view.
        image_size: (height, width) in pixels of the image that the view is made of.
        rng: source of randomness.
        active: the K types that may act; all of them by default.

    Returns:
        The types that act, in the order of application, to what :func:`draw` returns.
    """
    active = [True] * len(plan.types) if active is None else active
    acting = [
        augmentation
        for augmentation, is_active in zip(plan.augmentations, active, strict=True)
        if is_active and rng.random() < augmentation.prob
    ]
    view_size = (plan.crop_size, plan.crop_size)
    return {
        each.name: draw(each, image_size if each.name == "crop" else view_size, rng)
        for each in acting
    }


def _crop_box(limits: Ranges, image_size: tuple[int, int], rng: random.Random) -> dict[str, float]:
    """A box whose area and shape are drawn again until it fits (source: torchvision)."""
    for _ in range(CROP_ATTEMPTS):
        scale, log_ratio = rng.uniform(*limits["scale"]), rng.uniform(*limits["log_ratio"])
        height, width = _sides(scale, log_ratio, image_size)
        if 0 < height <= image_size[0] and 0 < width <= image_size[1]:
            return _placed(height, width, image_size, rng)
    rows, columns = image_size
    low, high = (math.exp(bound) for bound in limits["log_ratio"])
    height = min(rows, max(1, round(columns / low)))
    width = min(columns, max(1, round(rows * high)))
    top, left = (rows - height) // 2, (columns - width) // 2
    return {"top_px": top, "left_px": left, "height_px": height, "width_px": width}


def _erased_box(
    drawn: Mapping[str, float], image_size: tuple[int, int], rng: random.Random
) -> dict[str, float]:
    """A box at a uniform place; a side longer than the image's is clipped."""
    height, width = _sides(drawn["area"], drawn["log_ratio"], image_size)
    return _placed(min(height, image_size[0]), min(width, image_size[1]), image_size, rng)


def _sides(area_share: float, log_ratio: float, image_size: tuple[int, int]) -> tuple[int, int]:
    area_px = area_share * image_size[0] * image_size[1]
    ratio = math.exp(log_ratio)
    return round(math.sqrt(area_px / ratio)), round(math.sqrt(area_px * ratio))


def _placed(
    height: int, width: int, image_size: tuple[int, int], rng: random.Random
) -> dict[str, float]:
    top = rng.randint(0, image_size[0] - height)
    left = rng.randint(0, image_size[1] - width)
    return {"top_px": top, "left_px": left, "height_px": height, "width_px": width}
