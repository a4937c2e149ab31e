"""DALI's decoder by itself: of the pipeline of views, and of the check before it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types

from mast_plugin.errors import DataError
from mast_plugin.files.document import first_line
from mast_plugin.loading.dali.node import Device, Node
from mast_plugin.loading.dali.source import Source

_AT_LAST = re.compile(r"encountered:\s*(\S.*)")


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
        num_threads: how many images are decoded at a time.
    """
    count = max(1, num_threads)
    parts = [list(indexes[start::count]) for start in range(count)]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = [
            pair for pairs in pool.map(partial(_faults, source, device), parts) for pair in pairs
        ]
    return [
        f"{source.name(index)} cannot be decoded by DALI ({reason}): save it again, or choose "
        "data.format=image_folder"
        for index, reason in sorted(found)
    ]


def reason_of(error: RuntimeError) -> str:
    """What DALI says, without its account of the pipeline."""
    said = _AT_LAST.search(str(error))
    return said[1].strip()[:200] if said else first_line(error)


def _faults(source: Source, device: Device, indexes: Sequence[int]) -> list[tuple[int, str]]:
    """Indexes of the images that cannot be decoded, each with what DALI says.

    One by one: DALI (2.4) crashes when it lets go of a pipeline that failed at one of several.
    """
    found = []
    waiting = deque(indexes)
    while waiting:
        pipeline = _decoding(
            source,
            lambda: source.feed(np.array([waiting[0]]), np.array([], np.int64)),
            device,
            batch_size=1,
            num_threads=1,
            device_id=torch.cuda.current_device() if device == "gpu" else None,
            exec_async=False,
            exec_pipelined=False,
        )
        pipeline.build()
        try:
            while waiting:
                pipeline.run()
                waiting.popleft()
        except DataError as error:  # Pillow's
            found.append((int(waiting.popleft()), str(error)))
        except RuntimeError as error:
            found.append((int(waiting.popleft()), reason_of(error)))
    return found


@pipeline_def(enable_conditionals=True)  # type: ignore[untyped-decorator]
def _decoding(source: Source, feed: Callable[[], Sequence[Any]], device: Device) -> Node:
    encoded = source.read(fn.external_source(source=feed, batch=True))
    return decoded(encoded, device, source.reading.upright)
