"""Pairs of views on which a single augmentation type acts, and how far their parameters differ.

Everything here follows from a seed, an image's index and a strength; torch's generator is unused.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mast_plugin.views.augmentation import HUE, Augmentation
from mast_plugin.views.difference import shorter_way
from mast_plugin.views.drawing import draw, is_switch, ranges
from mast_plugin.views.pil import apply, centred
from mast_plugin.views.plan import Plan
from mast_plugin.views.torchvision import CentredView

_BOX = ("top_px", "left_px", "height_px", "width_px")


class Pairs(NamedTuple):
    """Pairs of one type at one strength.

    Attributes:
        views: two normalised batches (N, 3, H, W).
        distance: (N,), in [0, 1]: how far apart the two views' parameters are.
    """

    views: tuple[Tensor, Tensor]
    distance: Tensor


def strengths(augmentation: Augmentation, steps: int) -> tuple[float, ...]:
    """From 0 (off) to 1 (as configured) in ``steps`` steps; on/off types have just the two."""
    if not augmentation.type.has_strength:
        return (0.0, 1.0)
    return tuple(step / (steps - 1) for step in range(steps))


def make_pairs(
    images: Sequence[Image.Image],
    plan: Plan,
    augmentation: Augmentation,
    strength: float,
    *,
    seed: int,
    first_index: int = 0,
) -> Pairs:
    """Make a pair of every image with one type applied at one strength, all others off.

    Both views are augmented, each with its own parameters, whatever the type's ``prob``. A type
    whose application draws nothing (a flip, solarization) would give two equal views: it is applied
    to the second alone. An image draws the same random numbers at every strength.

    Args:
        images: N RGB images.
        plan: gives the views' size and normalisation.
        augmentation: the type, as configured.
        strength: in [0, 1]; of on/off types 0 or 1.
        seed: what is drawn.
        first_index: index of the first image among all, so that batches draw what the whole would.
    """
    pairs = [
        _pair(image, plan, augmentation, strength, _generator(seed, augmentation.name, index))
        for index, image in enumerate(images, first_index)
    ]
    first, second, distances = zip(*pairs, strict=True)
    return Pairs((torch.stack(first), torch.stack(second)), torch.tensor(distances))


def _generator(seed: int, name: str, index: int) -> random.Random:
    return random.Random(f"{seed}/{name}/{index}")


def _pair(
    image: Image.Image, plan: Plan, augmentation: Augmentation, strength: float, rng: random.Random
) -> tuple[Tensor, Tensor, float]:
    weakened = augmentation.scaled(strength) if augmentation.type.has_strength else augmentation
    if strength == 0:
        view = _tensor(centred(image, plan.crop_size), plan)
        return view, view, 0.0
    if is_switch(augmentation):
        plain = centred(image, plan.crop_size)
        drawn = draw(weakened, plain.size[::-1], rng)
        changed = apply(plain, augmentation.name, drawn, plan)
        return _tensor(plain, plan), _tensor(changed, plan), strength
    base = image if augmentation.name == "crop" else centred(image, plan.crop_size)
    size = (base.height, base.width)
    both = [draw(weakened, size, rng) for _ in range(2)]
    first, second = (_tensor(apply(base, augmentation.name, one, plan), plan) for one in both)
    return first, second, parameter_distance(augmentation, *both)


def parameter_distance(
    augmentation: Augmentation, first: Mapping[str, float], second: Mapping[str, float]
) -> float:
    """How far apart the parameters of two applications are, in [0, 1].

    For boxes (crop, erasing) one minus intersection over union; else the root mean square of the
    differences, each as a share of the largest that the type's own range allows. Two hues differ by
    the shorter way round the colour wheel.

    Args:
        augmentation: the type at full strength, whose ranges are the yardstick.
        first: the parameters of one application, see :func:`mast_plugin.views.drawing.draw`.
        second: those of the other.
    """
    if "top_px" in first:
        return 1 - _intersection_over_union(first, second)
    spans = {name: high - low for name, (low, high) in ranges(augmentation).items() if high > low}
    if not spans:
        return 0.0
    shares = [_share(name, first[name] - second[name], span) for name, span in spans.items()]
    return math.sqrt(sum(share**2 for share in shares) / len(shares))


def _share(name: str, difference: float, span: float) -> float:
    """A difference over the largest that values within a span can have."""
    if name == HUE:
        return float(shorter_way(difference)) / min(span, 0.5)
    return difference / span


def _intersection_over_union(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    (top1, left1, height1, width1), (top2, left2, height2, width2) = (
        [box[name] for name in _BOX] for box in (first, second)
    )
    rows = min(top1 + height1, top2 + height2) - max(top1, top2)
    columns = min(left1 + width1, left2 + width2) - max(left1, left2)
    shared = max(rows, 0) * max(columns, 0)
    union = height1 * width1 + height2 * width2 - shared
    return shared / union if union else 1.0  # two empty boxes are alike


def _tensor(view: Image.Image, plan: Plan) -> Tensor:
    # The view has its final size already: centring leaves it alone and normalises it.
    return CentredView(plan.crop_size, plan.mean, plan.std)(view)
