"""The torchvision interpreter: PIL images to views, in the worker processes of a loader.

Images must be RGB; the loader converts them. All randomness comes from torch's global generator,
which ``seed_everything`` and a loader's workers rule.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from mast_plugin.check import whole_number
from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.views.difference import difference_of
from mast_plugin.views.drawing import draw_view
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.pil import apply, centred
from mast_plugin.views.plan import IMAGENET_MEAN, IMAGENET_STD, Plan, ViewSpec


class RoutedViews:
    """An image to two views, their route and the difference of their parameters, for MAST.

    An active type is drawn independently for the two views, and each view applies it with the
    type's own probability; an inactive type is off on both. Where the two views have plans of their
    own, an active type acts on those views alone whose plan has it. Where the crop is off, the view
    is the centred square of :class:`CentredView`.

    Args:
        plan: what can happen to a view, or to the two (:func:`mast_plugin.views.plan.pair_of`).
        policy: how routes are drawn.
    """

    def __init__(self, plan: Plan, policy: RoutePolicy) -> None:
        self.plan = plan
        self.policy = policy
        self.difference = difference_of(plan)
        self._columns = [[plan.types.index(name) for name in view.types] for view in plan.views]
        self._to_tensor = _Normalise(plan.mean, plan.std)

    def __call__(self, image: Image.Image) -> RoutedPair:
        """Makes the pair of an RGB image.

        Returns:
            Two views, the route in the order of ``plan.types``, and the difference; a loader's
            default collation puts N in front of each.

        Raises:
            DataError: the image is not RGB.
        """
        route = self.policy.draw(1, len(self.plan.types))[0]
        active, rng = route.tolist(), _local_generator()
        views, numbers = [], []
        for plan, columns in zip(self.plan.views, self._columns, strict=True):
            view, applied = _view(image, plan, rng, [active[column] for column in columns])
            views.append(self._to_tensor(view))
            numbers.append(self.difference.of_view(applied, (image.height, image.width)))
        first, second = views
        return RoutedPair(first, second, route, torch.from_numpy(self.difference.between(*numbers)))

    def __repr__(self) -> str:
        return f"RoutedViews({self.policy}, {self.plan})"


class PlainViews:
    """An image to views on which every type is active, for the baselines.

    Args:
        specs: at least one block, each with its plan and its number of views.
    """

    def __init__(self, specs: Sequence[ViewSpec]) -> None:
        if not specs:
            raise ConfigurationError("PlainViews needs at least one block of augmentations")
        self.specs = tuple(specs)
        self._to_tensor = [_Normalise(spec.plan.mean, spec.plan.std) for spec in specs]

    def __call__(self, image: Image.Image) -> list[Tensor]:
        """Makes the views of all blocks, in the blocks' order, of an RGB image.

        Returns:
            Normalised float32 views **(3, crop_size, crop_size)**; the blocks' sizes may differ.

        Raises:
            DataError: the image is not RGB.
        """
        rng = _local_generator()
        return [
            to_tensor(_view(image, spec.plan, rng)[0])
            for spec, to_tensor in zip(self.specs, self._to_tensor, strict=True)
            for _ in range(spec.num_crops)
        ]

    def __repr__(self) -> str:
        blocks = ", ".join(f"{spec.num_crops} x [{spec.plan}]" for spec in self.specs)
        return f"PlainViews({blocks})"


class CentredView:
    """An image to its centred square, for evaluation.

    The shorter side is resized (bicubic), the longer one cropped around the centre.

    Args:
        crop_size: side of the view in pixels.
        mean: per channel, subtracted from values in [0, 1].
        std: per channel, what the difference is divided by.
    """

    def __init__(
        self,
        crop_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        self.crop_size = whole_number(crop_size, "crop_size")
        self._to_tensor = _Normalise(mean, std)

    def __call__(self, image: Image.Image) -> Tensor:
        """Makes one normalised float32 view **(3, crop_size, crop_size)** of an RGB image.

        Raises:
            DataError: the image is not RGB.
        """
        _require_rgb(image)
        return self._to_tensor(centred(image, self.crop_size))

    def __repr__(self) -> str:
        return f"CentredView({self.crop_size} px)"


def _view(
    image: Image.Image, plan: Plan, rng: random.Random, active: Sequence[bool] | None = None
) -> tuple[Image.Image, dict[str, dict[str, float]]]:
    """The view, and what was applied to it."""
    _require_rgb(image)
    drawn = draw_view(plan, (image.height, image.width), rng, active)
    if "crop" not in drawn:
        image = centred(image, plan.crop_size)
    for name, parameters in drawn.items():
        image = apply(image, name, parameters, plan)
    return image, drawn


def _require_rgb(image: Image.Image) -> None:
    if image.mode != "RGB":
        raise DataError(
            f"views are made of RGB images, not of mode {image.mode!r}: "
            "have the dataset's loader call convert('RGB')"
        )


def _local_generator() -> random.Random:
    """One draw from torch, then Python's generator: for scalars it is an order faster."""
    return random.Random(int(torch.randint(2**63 - 1, ())))


class _Normalise:
    """An image to a normalised tensor; the constants are made once, not once per image."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._mean = torch.tensor(mean, dtype=torch.float32).view(3, 1, 1)
        self._std = torch.tensor(std, dtype=torch.float32).view(3, 1, 1)

    def __call__(self, image: Image.Image) -> Tensor:
        tensor: Tensor = F.to_tensor(image)
        return tensor.sub_(self._mean).div_(self._std)
