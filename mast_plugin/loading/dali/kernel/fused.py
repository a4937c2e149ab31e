"""What a compiled pass does to a view once it is cropped, in the order of its plan.

The order is given with every call and never compiled in: :mod:`mast_plugin.views.augmentation`
alone says it. Nothing here knows DALI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from mast_plugin.loading.dali.kernel import colour as kernel_colour
from mast_plugin.loading.dali.kernel.blur import blur
from mast_plugin.loading.dali.kernel.colour import recolour, sharpen
from mast_plugin.loading.dali.kernel.level import equalize, solarize
from mast_plugin.views.augmentation import JITTER_PARTS, Augmentation
from mast_plugin.views.difference import ACTIVE
from mast_plugin.views.plan import Plan

Array = npt.NDArray[Any]

_FIRST = kernel_colour.NUM_COLOURS
_SHARPEN, _BLUR, _SOLARIZE, _EQUALIZE = range(_FIRST, _FIRST + 4)

STEPS: Mapping[str, tuple[int, str]] = {
    "brightness": (kernel_colour.BRIGHTNESS, "brightness_factor"),
    "contrast": (kernel_colour.CONTRAST, "contrast_factor"),
    "saturation": (kernel_colour.SATURATION, "saturation_factor"),
    "hue": (kernel_colour.HUE, "hue_turns"),
    "grayscale": (kernel_colour.GRAY, ACTIVE),
    "sharpness": (_SHARPEN, "sharpness_factor"),
    "gaussian_blur": (_BLUR, "sigma_px"),
    "solarization": (_SOLARIZE, "threshold"),
    "equalization": (_EQUALIZE, ACTIVE),
}
"""The types that a pass can carry out: how it calls them, and the one number that each is given."""


class Field(NamedTuple):
    """One number that a pass is given for every image: NaN where its type does not act.

    Attributes:
        type: the plan's augmentation type.
        part: the same; of ``color_jitter`` one of its parts.
        step: how the compiled code calls the part.
        parameter: what the number is, as :mod:`mast_plugin.views.drawing` names it; ``ACTIVE``
            where nothing is drawn.
    """

    type: str
    part: str
    step: int
    parameter: str


class Pass(NamedTuple):
    """A pass over a view, and what is applied between it and the next one.

    Attributes:
        fields: what it is given, in the order in which it changes the image.
        followers: the types that compiled code does not know, in their order.
    """

    fields: tuple[Field, ...]
    followers: tuple[Augmentation, ...]


def passes_of(plan: Plan) -> tuple[Pass, ...]:
    """Splits a plan, whatever its order, into passes with other types between them.

    Returns:
        At least one: the first is the one that crops, and may have no field.
    """
    passes = [Pass((), ())]
    for augmentation in plan.augmentations:
        fields, followers = passes[-1]
        known = fields_of(augmentation.name)
        if known is None:
            passes[-1] = Pass(fields, (*followers, augmentation))
        elif followers and known:
            passes.append(Pass(known, ()))
        else:
            passes[-1] = Pass((*fields, *known), ())
    return tuple(passes)


def fields_of(name: str) -> tuple[Field, ...] | None:
    """What a pass is given for a type; ``None`` of one that it cannot carry out.

    Nothing of the crop, which comes first in every plan and has numbers of its own.
    """
    if name == "crop":
        return ()
    parts = JITTER_PARTS if name == "color_jitter" else (name,)
    known = STEPS.keys() >= set(parts)
    return tuple(Field(name, part, *STEPS[part]) for part in parts) if known else None


# Not cached: numba does not notice that a function has changed which a cached one calls.
@njit(error_model="numpy")
def carry_out(image: Array, steps: Array, values: Array) -> None:
    """Changes an image in place.

    Args:
        image: **(H, W, 3)** uint8.
        steps: **(M,)** int32, ``Field.step`` of each; done in this order.
        values: **(M,)** float32: what each step is given; NaN leaves it out.
    """
    acting = ~np.isnan(values)
    steps, values = steps[acting], values[acting]
    start = 0  # of a run of colours, all of which are changed in one go
    for at in range(steps.size):
        if steps[at] >= _FIRST:
            if start < at:
                recolour(image, steps[start:at], values[start:at])
            start = at + 1
            _carry_out_one(image, steps[at], values[at])
    if start < steps.size:
        recolour(image, steps[start:], values[start:])


@njit(error_model="numpy")
def _carry_out_one(image: Array, step: int, value: Any) -> None:
    if step == _SHARPEN:
        sharpen(image, value)
    elif step == _BLUR:
        blur(image, float(value))
    elif step == _SOLARIZE:
        solarize(image, float(value))
    elif step == _EQUALIZE:
        equalize(image)
