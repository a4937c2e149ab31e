"""What the operations of a DALI pipeline are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from nvidia.dali import fn, types

Node = Any
"""A batch inside a pipeline: what DALI calls a DataNode."""
Drawn = Mapping[str, Node]
Device = Literal["cpu", "gpu"]


def as_float(value: Node) -> Node:
    """A float per image, of a node or of a plain number."""
    return fn.cast(value, dtype=types.FLOAT) if hasattr(value, "device") else constant(value)


def constant(value: Any) -> Node:
    """The same floats for every image."""
    return types.Constant(np.asarray(value, np.float32), device="cpu")
