"""DALI's decoder by itself: of the pipeline of views, and of the check before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types

from mast_plugin.dali.source import Indexes, Source
from mast_plugin.views.dali_node import Device, Node

_BATCH = 32
_ABOUT_PIPELINE = re.compile(
    "pipeline|^Error in|^Error when|which was used in|^Stacktrace|^\\[frame|C\\+\\+ context"
)


def decoded(encoded: Node, device: Device, upright: bool) -> Node:
    """Images (H, W, 3), uint8, of encoded ones; ``upright`` turns them as their EXIF tag says."""
    return fn.decoders.image(
        encoded,
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        adjust_orientation=upright,
    )


def undecodable(
    source: Source, indexes: Sequence[int], *, device: Device, num_threads: int = 1
) -> list[str]:
    """What is wrong with those of the images that DALI cannot decode, one sentence for each.

    Args:
        source: the images.
        indexes: which of them.
        device: where they are decoded.
        num_threads: of DALI.
    """
    sentences = []
    for start in range(0, len(indexes), _BATCH):
        batch = np.array(indexes[start : start + _BATCH], np.int64)
        if _fault(source, batch, device, num_threads) is None:
            continue
        for index in batch:
            if reason := _fault(source, np.array([index]), device, 1):
                sentences.append(
                    f"{source.name(int(index))} cannot be decoded by DALI ({reason}): save it "
                    "again, or choose data.format=image_folder"
                )
    return sentences


def reason_of(error: RuntimeError) -> str:
    """What DALI says, without what it says about its pipeline."""
    lines = [line.strip() for line in str(error).splitlines()]
    spoken = [line for line in lines if line and not _ABOUT_PIPELINE.search(line)]
    return (spoken[0] if spoken else type(error).__name__)[:200]


def _fault(source: Source, indexes: Indexes, device: Device, num_threads: int) -> str | None:
    """What DALI says against one of the images, if anything."""
    try:
        fed = source.feed(indexes, indexes[:0])
        pipeline = _decoding(
            source,
            fed,
            device,
            batch_size=len(indexes),
            num_threads=max(1, num_threads),
            device_id=torch.cuda.current_device() if device == "gpu" else None,
        )
        pipeline.build()
        pipeline.run()
    except RuntimeError as error:
        return reason_of(error)
    return None


@pipeline_def(enable_conditionals=True)  # type: ignore[untyped-decorator]
def _decoding(source: Source, fed: Sequence[Any], device: Device) -> Node:
    encoded = source.read(fn.external_source(source=lambda: fed, batch=True))
    return decoded(encoded, device, source.reading.upright)
