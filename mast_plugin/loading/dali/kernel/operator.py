"""Compiled functions as operations of a DALI pipeline, for what its own would be too slow for.

On small images a pipeline's time goes into the number of its operations, and on large ones into
DALI's resizing on the CPU. So all that a view needs before it is moved is one operation there:
where the crop lies, its resizing, and what changes colours, sharpness and levels. DALI calls the
functions image by image from its own threads. On a GPU only the box is found here; its images are
the work of :mod:`mast_plugin.loading.dali.colour` and :mod:`mast_plugin.loading.dali.geometry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from nvidia.dali import fn, types
from nvidia.dali.plugin.numba import NumbaFunction

from mast_plugin.loading.dali.kernel.crop import Array, place_box, resize_box
from mast_plugin.loading.dali.kernel.fused import Field, carry_out
from mast_plugin.loading.dali.node import Node, constant


def first_pass(
    images: Node, box: Node, settings: Node, fields: Sequence[Field], size_px: int
) -> tuple[Node, Node]:
    """Crops and resizes a view and carries out the fields' types, in their order, as PIL does.

    Args:
        images: RGB, uint8, height x width x channels, of any sizes, on the CPU.
        box: what rules the crop, see ``kernel_crop.BOX_NUMBERS``, per image.
        settings: **(M,)** float32 per image: one number of each field, NaN where it does not act.
        fields: M of them, of the first of ``kernel_pass.passes_of``.
        size_px: side of the view.

    Returns:
        Images like the given ones, ``size_px`` square; and their frames, float32 **(6,)**: top,
        left, bottom and right of the crop, height and width of the whole image, in pixels.
    """
    # Only the first inputs' shapes are seen where the outputs' are set: first is the template's,
    # whose length says how large the view is.
    template = constant(np.zeros(size_px))
    view, frame = _pass()(template, _steps(fields), images, box, settings)
    return fn.reshape(view, layout="HWC"), frame


def further_pass(images: Node, settings: Node, fields: Sequence[Field]) -> Node:
    """Carries out the fields' types on views, which keep their size; see :func:`first_pass`."""
    return fn.reshape(_further()(images, _steps(fields), settings), layout="HWC")


def _steps(fields: Sequence[Field]) -> Node:
    return types.Constant(np.array([field.step for field in fields], np.int32), device="cpu")


def crop_box(extent: Node, box: Node) -> Node:
    """Finds the boxes alone.

    Args:
        extent: height and width **(2,)** of the image in pixels, float32.
        box: as of :func:`first_pass`.

    Returns:
        **(4,)**: top, left, bottom, right in pixels, whole numbers, float32.
    """
    return _box()(extent, box)


@cache
def _pass() -> Any:
    """Compiled once for all pipelines of the process, as that takes seconds."""
    return NumbaFunction(
        run_fn=_run_pass,
        setup_fn=_square_and_frame,
        in_types=[types.FLOAT, types.INT32, types.UINT8, types.FLOAT, types.FLOAT],
        ins_ndim=[1, 1, 3, 1, 1],
        out_types=[types.UINT8, types.FLOAT],
        outs_ndim=[3, 1],
    )


@cache
def _further() -> Any:
    return NumbaFunction(
        run_fn=_run_further,
        setup_fn=_same_shape,
        in_types=[types.UINT8, types.INT32, types.FLOAT],
        ins_ndim=[3, 1, 1],
        out_types=[types.UINT8],
        outs_ndim=[3],
    )


@cache
def _box() -> Any:
    return NumbaFunction(
        run_fn=_run_box,
        setup_fn=_four_numbers,
        in_types=[types.FLOAT] * 2,
        ins_ndim=[1, 1],
        out_types=[types.FLOAT],
        outs_ndim=[1],
    )


def _run_pass(
    out: Array,
    frame: Array,
    template: Array,
    steps: Array,
    image: Array,
    numbers: Array,
    settings: Array,
) -> None:
    frame[4], frame[5] = image.shape[0], image.shape[1]
    place_box(frame, image.shape[0], image.shape[1], numbers)
    resize_box(out, image, frame)
    carry_out(out, steps, settings)


def _run_further(out: Array, image: Array, steps: Array, settings: Array) -> None:
    out[:] = image
    carry_out(out, steps, settings)


def _run_box(box: Array, extent: Array, numbers: Array) -> None:
    place_box(box, int(extent[0]), int(extent[1]), numbers)


def _square_and_frame(outs: Any, ins: Any) -> None:
    for sample in range(len(outs[0])):
        outs[0][sample][0] = ins[0][sample][0]
        outs[0][sample][1] = ins[0][sample][0]
        outs[0][sample][2] = 3
        outs[1][sample][0] = 6


def _same_shape(outs: Any, ins: Any) -> None:
    for sample in range(len(outs[0])):
        for axis in range(3):
            outs[0][sample][axis] = ins[0][sample][axis]


def _four_numbers(outs: Any, ins: Any) -> None:
    for sample in range(len(outs[0])):
        outs[0][sample][0] = 4
