"""The numbers that rule a batch's views, drawn at once.

Numbers are drawn here and not inside the pipeline, so that a batch is a function of seed, epoch and
position: a run can be repeated, and a resumed one sees what an uninterrupted one would have seen.
The distributions are those of :mod:`mast_plugin.views.drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mast_plugin.core.route import RoutePolicy
from mast_plugin.loading.dali.kernel.crop import BOX_NUMBERS
from mast_plugin.loading.dali.kernel.fused import Field, passes_of
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.difference import ACTIVE, Applied
from mast_plugin.views.drawing import CROP_ATTEMPTS, ranges
from mast_plugin.views.plan import Plan, pair_of

Array = npt.NDArray[Any]
Key = tuple[int, str, str]
"""View (counted from 0), augmentation type, and parameter or ``ACTIVE``."""

BOX = ("crop", "box")
"""Rest of the key of what rules a view's crop, see ``kernel_crop.BOX_NUMBERS``."""


def settings_key(view: int, number: int) -> Key:
    """Key of what the fields of a view's compiled pass are set to; passes are counted from 0."""
    return view, "pass", str(number)


class Drawn(NamedTuple):
    """What N images are turned into views with.

    Attributes:
        arrays: what the pipeline is fed; the first dimension counts the images, bool for ``ACTIVE``
            and float32 otherwise.
        route: **(N, K)**, bool, or ``None`` without a policy.
        applied: of each view, what its types were given, apart from the crop, which depends on the
            image.
    """

    arrays: dict[Key, Array]
    route: Tensor | None
    applied: tuple[Applied, ...]


@dataclass(frozen=True)
class Draws:
    """Draws what the views of a batch are made with.

    Attributes:
        plans: one for each view of an image.
        policy: how the routes of two views are drawn, over the union of their types; ``None`` where
            every type is active on every image.
        in_passes: whether types that a compiled pass carries out come as one array for each of
            ``kernel_pass.passes_of``, instead of each by itself.
    """

    plans: tuple[Plan, ...]
    policy: RoutePolicy | None
    in_passes: bool = False

    @property
    def keys(self) -> tuple[Key, ...]:
        """What :meth:`draw` gives, in a fixed order."""
        return tuple(self.draw(1, np.random.default_rng(0)).arrays)

    def draw(self, num_images: int, rng: np.random.Generator) -> Drawn:
        """Draws for N images.

        Args:
            num_images: N.
            rng: source of all randomness.
        """
        route: Tensor | None = None
        types: tuple[str, ...] = ()
        if self.policy is not None:
            generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
            types = pair_of(*self.plans).types
            route = self.policy.draw(num_images, len(types), generator=generator)
        drawn: dict[Key, Array] = {}
        applied = []
        for view, plan in enumerate(self.plans):
            for augmentation in plan.augmentations:
                active = rng.random(num_images) < augmentation.prob
                if route is not None:
                    active &= route[:, types.index(augmentation.name)].numpy()
                drawn[view, augmentation.name, ACTIVE] = active
                for name, values in draw_batch(augmentation, num_images, plan, rng).items():
                    drawn[view, augmentation.name, name] = values.astype(np.float32)
            applied.append(_applied(drawn, view))
            drawn[(view, *BOX)] = _box_numbers(drawn, view, plan, num_images)
            if self.in_passes:
                for number, (fields, _) in enumerate(passes_of(plan)):
                    drawn[settings_key(view, number)] = _settings(drawn, view, fields, num_images)
        return Drawn(drawn, route, tuple(applied))


def _applied(drawn: dict[Key, Array], view: int) -> dict[str, dict[str, Array]]:
    found: dict[str, dict[str, Array]] = {}
    for (number, name, parameter), values in drawn.items():
        if number == view and name != "crop":
            found.setdefault(name, {})[parameter] = values
    return found


def _box_numbers(drawn: dict[Key, Array], view: int, plan: Plan, num_images: int) -> Array:
    """Takes out what was drawn for a view's crop, and returns it as one array."""
    numbers = np.zeros((num_images, BOX_NUMBERS), np.float32)
    if plan.augmentations[0].name == "crop":
        numbers[:, 0] = drawn.pop((view, "crop", ACTIVE))
        numbers[:, 1:3] = drawn.pop((view, "crop", "place"))
        numbers[:, 3:5] = np.exp(ranges(plan.augmentations[0])["log_ratio"])
        numbers[:, 5:] = drawn.pop((view, "crop", "sides")).reshape(num_images, -1)
    return numbers


def _settings(
    drawn: dict[Key, Array], view: int, fields: Sequence[Field], num_images: int
) -> Array:
    """Takes out what was drawn for the types of a pass, and returns a column for each field."""
    settings = np.full((num_images, len(fields)), np.nan, np.float32)
    for column, field in enumerate(fields):
        active = drawn[view, field.type, ACTIVE]
        settings[active, column] = drawn[view, field.type, field.parameter][active]
    done = {(view, field.type) for field in fields}
    for key in [key for key in drawn if key[:2] in done]:
        del drawn[key]
    return settings


def draw_batch(
    augmentation: Augmentation, num_images: int, plan: Plan, rng: np.random.Generator
) -> dict[str, Array]:
    """Draws the parameters of one augmentation for N images of ``plan.crop_size``.

    Returns:
        Arrays **(N,)** under the names of :func:`mast_plugin.views.drawing.draw`. A crop depends on
        the size of its image, which only the pipeline knows: ``sides`` **(N, attempts, 2)** are
        heights and widths in units of the square root of the image's area, and ``place``
        **(N, 2)**, in [0, 1), is where the box lies between top and bottom, left and right.
    """
    limits = ranges(augmentation)
    if augmentation.name == "crop":
        shape = (num_images, CROP_ATTEMPTS)
        scale = rng.uniform(*limits["scale"], shape)
        ratio = np.exp(rng.uniform(*limits["log_ratio"], shape))
        return {"sides": _sides(scale, ratio), "place": rng.random((num_images, 2))}
    drawn: dict[str, Array] = {
        name: rng.uniform(low, high, num_images) for name, (low, high) in limits.items()
    }
    if augmentation.name != "erasing":
        return drawn
    ratio = np.exp(drawn["log_ratio"])
    sides = np.minimum(np.rint(_sides(drawn["area"], ratio) * plan.crop_size), plan.crop_size)
    start = np.floor(rng.random((num_images, 2)) * (plan.crop_size - sides + 1))
    return dict(
        zip(("top_px", "left_px", "height_px", "width_px"), (*start.T, *sides.T), strict=True)
    )


def _sides(area: npt.NDArray[np.float64], ratio: npt.NDArray[np.float64]) -> Array:
    return np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], axis=-1)
