"""How the two views of a pair differ in their augmentation parameters.

Every augmentation type says what it did to a view in a few numbers, which are zero where it did
nothing; a crop says where its box lies in the image, whether it acted or not. A pair's *difference*
is the first view's numbers minus the second's. A flip has none: a mirror image is as natural as the
image, so that nothing in two views tells which of them was flipped.

Source: predicting such differences from two views is AugSelf's (Lee et al., NeurIPS 2021); which
numbers describe a type, and their units, are this project's choice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from mast_plugin.views.augmentation import HUE
from mast_plugin.views.drawing import draw_view, is_switch, ranges
from mast_plugin.views.plan import Plan

Array = npt.NDArray[Any]
Applied = Mapping[str, Mapping[str, Any]]
"""Type to what was drawn for it, by the names of :mod:`mast_plugin.views.drawing`."""

ACTIVE = "active"
"""Of many views at once: what stands, among what was drawn, for whether the type acts at all."""

_BOX = ("top_px", "left_px", "height_px", "width_px")
_SIDES = ("centre_y", "centre_x", "height", "width")
_NOT_PREDICTED = ("horizontal_flip",)
_PAIRS, _SIDE_PX = 1000, 224  # what the units are estimated on; pixels this small hardly round


class PairDifference:
    """Describes the pairs of one plan; :func:`difference_of` makes it once for each.

    Each number is given in units of its standard deviation over square images on which its type is
    active. Numbers that never vary are left out. Of two hues the shorter way round the colour wheel
    counts, at most half a turn.

    Where the two views have plans of their own, a number is zero on a view whose plan lacks its
    type, and the mean is not zero: deviations are then taken from zero, which says that the two
    views were treated alike.

    Args:
        plan: the K types, in the order of a route's columns; of two plans, their union.

    Attributes:
        types: P columns of a route, ascending: which type each number belongs to.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._names = [_names(plan, name) for name in plan.types]
        counts = [len(names) for names in self._names]
        self._total = sum(counts)
        ends = accumulate(counts)
        self._parts = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
        self._hues = np.array([name == HUE for names in self._names for name in names], dtype=bool)
        rng, size = random.Random(0), (_SIDE_PX, _SIDE_PX)
        drawn = [draw_view(view, size, rng) for _ in range(_PAIRS) for view in plan.views]
        views = np.array([self.of_view(each, size) for each in drawn])
        differences = self._difference(views[::2], views[1::2])
        deviations = differences.std(axis=0)
        self._kept = np.flatnonzero(deviations > 1e-6)
        first, second = plan.views
        units = deviations if first == second else np.sqrt((differences**2).mean(axis=0))
        self._units = units[self._kept]
        owners = np.repeat(np.arange(len(counts)), counts)
        self.types: tuple[int, ...] = tuple(owners[self._kept].tolist())

    def of_view(self, applied: Applied, size: tuple[int, int]) -> Array:
        """Numbers **(Q,)** of one view.

        Args:
            applied: the types that acted on it, alone.
            size: height and width of the image in pixels.
        """
        box = [applied["crop"][side] for side in _BOX] if "crop" in applied else _centred(size)
        return self.of_views(applied, np.array(box), np.array(size))

    def of_views(self, applied: Applied, boxes: Array, sizes: Array) -> Array:
        """Numbers **(..., Q)**, float64, in the order of the plan.

        Args:
            applied: what was drawn, arrays **(...)**, with ``ACTIVE`` where a type acted on some of
                the views; a type left out acted on none.
            boxes: **(..., 4)**: top, left, height and width in pixels of what the views show.
            sizes: **(..., 2)**: height and width of the images in pixels.
        """
        numbers = np.zeros((*boxes.shape[:-1], self._total))
        for name, names, place in zip(self._plan.types, self._names, self._parts, strict=True):
            part, drawn = numbers[..., place], applied.get(name)
            if name == "crop":
                centres, shares = _place(boxes, sizes)
                part[..., :2], part[..., 2:] = centres, np.log(shares)
            elif drawn is not None:
                acts = drawn.get(ACTIVE, True)
                for column, value in enumerate(_values(names, drawn, self._plan.crop_size)):
                    part[..., column] = acts * value
        return numbers

    def between(self, first: Array, second: Array) -> Array:
        """The difference **(..., P)**, float32, of the numbers **(..., Q)** of two views."""
        difference = self._difference(first, second)[..., self._kept]
        found: Array = (difference / self._units).astype(np.float32)
        return found

    def _difference(self, first: Array, second: Array) -> Array:
        """First minus second; of hues the shorter way round, which is all that two views show."""
        difference: Array = first - second
        difference[..., self._hues] = shorter_way(difference[..., self._hues])
        return difference


def shorter_way(turns: Any) -> Any:
    """A difference of hues, of any shape, as the shorter way round: in [-0.5, 0.5]."""
    return turns - np.round(turns)


@cache
def difference_of(plan: Plan) -> PairDifference:
    """The plan's :class:`PairDifference`, whose units take a quarter of a second to estimate."""
    return PairDifference(plan)


def _values(names: Sequence[str], drawn: Mapping[str, Any], crop_size: int) -> Sequence[Any]:
    """A type's numbers where it acts.

    Factors count from one; types with nothing to draw say that they acted; an erased box gives its
    centre and the shares of its sides.
    """
    if names == _SIDES:
        box = np.stack([np.asarray(drawn[side], float) for side in _BOX], axis=-1)
        place, shares = _place(box, np.full(2, crop_size))
        return [*np.moveaxis(place, -1, 0), *np.moveaxis(shares, -1, 0)]
    if names == (ACTIVE,):
        return [1.0]
    return [np.asarray(drawn[name]) - name.endswith("_factor") for name in names]


def _names(plan: Plan, name: str) -> Sequence[str]:
    """What a type's numbers are, in a view that has the type."""
    if name in _NOT_PREDICTED:
        return ()
    if name in ("crop", "erasing"):
        return _SIDES
    kinds = [each for view in plan.views for each in view.augmentations if each.name == name]
    return (ACTIVE,) if is_switch(*kinds) else tuple(ranges(kinds[0]))


def _place(boxes: Array, sizes: Array) -> tuple[Array, Array]:
    """Centres from the image's middle, and sides **(..., 2)**, as shares of the image's sides."""
    shares = boxes[..., 2:] / sizes
    return boxes[..., :2] / sizes + shares / 2 - 0.5, shares


def _centred(size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The square that a view shows whose crop is off."""
    height, width = size
    side = min(size)
    return (height - side) / 2, (width - side) / 2, side, side
