"""The pipeline from encoded images to views, built once from the plans of all views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nvidia.dali import Pipeline, fn, pipeline_def, types

from mast_plugin.loading.dali.decoding import decoded
from mast_plugin.loading.dali.draw import BOX, Draws, Key, settings_key
from mast_plugin.loading.dali.geometry import resized_box
from mast_plugin.loading.dali.kernel.fused import passes_of
from mast_plugin.loading.dali.kernel.operator import crop_box, first_pass, further_pass
from mast_plugin.loading.dali.node import Device, Node
from mast_plugin.loading.dali.operation import apply, normalised, refuse_unsupported
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.difference import ACTIVE
from mast_plugin.views.plan import Plan

Nodes = Mapping[Key, Node]
Read = Callable[[Node], Node]


def build_pipeline(
    draws: Draws,
    read: Read,
    feed: Callable[[], Sequence[Any]],
    *,
    device: Device,
    upright: bool = True,
    **options: Any,
) -> Pipeline:
    """Builds the pipeline.

    Args:
        draws: what the views are made with.
        read: from what the source feeds to encoded images, as an operation of the pipeline.
        feed: called once per batch for what the source feeds, followed by the drawn arrays in the
            order of ``draws.keys``; raises ``StopIteration`` after the last batch of an epoch.
        device: where images are decoded and changed.
        upright: turn images as their EXIF orientation says.
        options: of DALI's ``Pipeline``.

    Returns:
        A pipeline whose outputs are the views **(N, 3, crop_size, crop_size)**, float32; then, on
        the CPU, the frame of each **(N, 6)**, see ``dali_kernel.first_pass``.

    Raises:
        ConfigurationError: a type that the device cannot do.
    """
    for plan in draws.plans:
        refuse_unsupported(plan, device)
    define = pipeline_def(_views, enable_conditionals=True)
    pipeline = define(draws, read, feed, device, upright, **options)
    pipeline.build()
    return pipeline


def _views(
    draws: Draws, read: Read, feed: Callable[[], Sequence[Any]], device: Device, upright: bool
) -> tuple[Node, ...]:
    keys = draws.keys
    fed, *numbers = fn.external_source(source=feed, num_outputs=1 + len(keys), batch=True)
    nodes = {key: numbers[position] for position, key in enumerate(keys)}
    encoded = read(fed)
    images = decoded(encoded, device, upright)
    extent = None
    if not draws.in_passes:
        extent = fn.peek_image_shape(encoded, adjust_orientation=upright, dtype=types.FLOAT)[:2]
    views, frames = [], []
    for view, plan in enumerate(draws.plans):
        if draws.in_passes:
            image, frame = _in_passes(images, view, nodes, plan)
        else:
            box = crop_box(extent, nodes[(view, *BOX)])
            image = resized_box(images, box[:2], box[2:], plan.crop_size)
            frame = fn.cat(box, extent, axis=0)
            for augmentation in plan.augmentations:
                if augmentation.name != "crop":
                    image = _perhaps(image, augmentation, view, nodes, plan)
        views.append(normalised(image, plan))
        frames.append(frame)
    return (*views, *frames)


def _in_passes(images: Node, view: int, nodes: Nodes, plan: Plan) -> tuple[Node, Node]:
    """A view by compiled passes, and its frame; DALI applies what comes between two of them."""
    first, *further = passes_of(plan)
    box, settings = nodes[(view, *BOX)], nodes[settings_key(view, 0)]
    image, frame = first_pass(images, box, settings, first.fields, plan.crop_size)
    for augmentation in first.followers:
        image = _perhaps(image, augmentation, view, nodes, plan)
    for number, (fields, followers) in enumerate(further, start=1):
        image = further_pass(image, nodes[settings_key(view, number)], fields)
        for augmentation in followers:
            image = _perhaps(image, augmentation, view, nodes, plan)
    return image, frame


def _perhaps(image: Node, augmentation: Augmentation, view: int, nodes: Nodes, plan: Plan) -> Node:
    """Applies an augmentation to those images of the batch on which it is active."""
    name = augmentation.name
    drawn = {parameter: node for (v, n, parameter), node in nodes.items() if (v, n) == (view, name)}
    active = drawn.pop(ACTIVE)
    if active:  # noqa: SIM108 (DALI makes a branch of the statement, not of the expression)
        changed = apply(image, name, drawn, plan)
    else:
        changed = image
    return changed
