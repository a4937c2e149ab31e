"""The types that move pixels, as operations of a DALI pipeline.

DALI fills uncovered pixels with one number in all channels, the dataset's mean has three: so images
get a border of the mean's colour, which DALI then repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nvidia.dali import fn, types

from mast_plugin.loading.dali.node import Drawn, Node, as_float
from mast_plugin.views.plan import Plan


def resized_box(images: Node, start: Node, end: Node, size_px: int) -> Node:
    """Brings the box from ``start`` to ``end``, both (row, column) in pixels, to a square."""
    return fn.resize(
        images,
        roi_start=start,
        roi_end=end,
        size=(size_px, size_px),
        interp_type=types.INTERP_CUBIC,
    )


def _crop(images: Node, drawn: Drawn, plan: Plan) -> Node:
    start = fn.stack(as_float(drawn["top_px"]), as_float(drawn["left_px"]))
    sides = fn.stack(as_float(drawn["height_px"]), as_float(drawn["width_px"]))
    return resized_box(images, start, start + sides, plan.crop_size)


def _flip(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.flip(images, horizontal=1)


def _rotation(images: Node, drawn: Drawn, plan: Plan) -> Node:
    size = plan.crop_size
    matrix = fn.transforms.rotation(
        _unpad(), angle=-1.0 * as_float(drawn["angle_deg"]), center=(size / 2, size / 2)
    )
    return _warped(images, matrix, plan)


def _shear(images: Node, drawn: Drawn, plan: Plan) -> Node:
    x, y = (-1.0 * as_float(drawn[name]) for name in ("x_angle_deg", "y_angle_deg"))
    centre = (plan.crop_size / 2, plan.crop_size / 2)
    matrix = fn.transforms.shear(_unpad(), angles=fn.stack(x, x * 0.0), center=centre)
    matrix = fn.transforms.shear(matrix, angles=fn.stack(y * 0.0, y), center=centre)
    return _warped(images, matrix, plan)


def _warped(images: Node, matrix: Node, plan: Plan) -> Node:
    """Moves pixels by a matrix that starts from images with a border of one pixel.

    Outside of an image DALI repeats its outermost pixels: with the border, the fill colour.
    """
    bordered = _window(images, -1, plan.crop_size + 2, plan)
    size = (plan.crop_size, plan.crop_size)
    return fn.warp_affine(bordered, matrix=matrix, size=size, inverse_map=False)


def _unpad() -> Node:
    return fn.transforms.translation(offset=(-1.0, -1.0))


def _translation(images: Node, drawn: Drawn, plan: Plan) -> Node:
    right, down = (as_float(drawn[name]) * plan.crop_size for name in ("x_shift", "y_shift"))
    start = fn.cast(fn.stack(down, right), dtype=types.INT32)  # a cast rounds
    return _window(images, -start, plan.crop_size, plan)


def _window(images: Node, start: Node, size: int, plan: Plan) -> Node:
    """A square of the plane that an image lies on, with the fill colour beside the image."""
    if isinstance(start, int):
        start = (start, start)
    return fn.slice(
        images,
        start=start,
        shape=(size, size),
        axes=(0, 1),
        out_of_bounds_policy="pad",
        fill_values=list(plan.fill),
    )


def _erasing(images: Node, drawn: Drawn, plan: Plan) -> Node:
    return fn.erase(
        images,
        anchor=fn.stack(as_float(drawn["top_px"]), as_float(drawn["left_px"])),
        shape=fn.stack(as_float(drawn["height_px"]), as_float(drawn["width_px"])),
        axis_names="HW",
        fill_value=list(plan.fill),
    )


APPLY: Mapping[str, Callable[[Node, Drawn, Plan], Node]] = {
    "crop": _crop,
    "horizontal_flip": _flip,
    "rotation": _rotation,
    "shear": _shear,
    "translation": _translation,
    "erasing": _erasing,
}
