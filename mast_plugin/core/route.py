"""How routes are drawn: which augmentation types are active on which pair of views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError, shown

RouteScheme = Literal["independent", "leave_one_out"]


@dataclass(frozen=True)
class RoutePolicy:
    """Draws a route for every image.

    With probability ``full_prob`` every type is active. Otherwise the scheme decides:

    - independent: each is active with probability ``active_prob``, independently; where none came
      up, one is drawn uniformly, because a pair without any augmentation has nothing to be
      invariant to;
    - leave one out: all are active but one, drawn uniformly; a single type is always active.

    Source: this project's choice (see docs/method.md); the paper's way to make pairs is not public.

    Attributes:
        full_prob: probability that all types are active, in [0, 1].
        active_prob: probability of each type otherwise, in [0, 1]; 0 means exactly one. Where one
            is left out it plays no part.
        scheme: "independent" or "leave_one_out".

    Raises:
        ConfigurationError: a probability outside [0, 1], or no such scheme.
    """

    full_prob: float = 0.8
    active_prob: float = 0.7
    scheme: RouteScheme = "independent"

    def __post_init__(self) -> None:
        for name in ("full_prob", "active_prob"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and 0 <= value <= 1):
                raise ConfigurationError(f"{name} must lie in [0, 1], not at {shown(value)}")
        if self.scheme not in get_args(RouteScheme):
            choices = ", ".join(get_args(RouteScheme))
            raise ConfigurationError(f"scheme must be one of {choices}, not {shown(self.scheme)}")

    def draw(
        self, num_images: int, num_types: int, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draws one route per image.

        Args:
            num_images: N, at least 0.
            num_types: K, at least 1.
            generator: source of randomness; torch's global one by default.

        Returns:
            Which types are active: **(N, K)**, bool, at least one per row, on the generator's
            device (the CPU by default).

        Raises:
            ConfigurationError: ``num_types`` below 1.
        """
        if num_types < 1:
            raise ConfigurationError(
                f"a route needs at least one augmentation type, not {num_types}: switch one on"
            )
        numbers = torch.rand(
            num_images,
            num_types + 1,
            generator=generator,
            device="cpu" if generator is None else generator.device,
            dtype=torch.float64,  # in float32 two types tie for the smallest number too often
        )
        everything, each = numbers[:, :1], numbers[:, 1:]
        if self.scheme == "leave_one_out":
            left_out = each.argmin(dim=1, keepdim=True)
            others = torch.arange(num_types, device=each.device) != left_out
            return others | (everything < self.full_prob) | (num_types == 1)
        # The type with the smallest number is the last to go. Where all numbers are too large, any
        # type is as likely as any other to hold it, which is the uniform draw.
        threshold = each.amin(dim=1, keepdim=True).clamp(min=self.active_prob)
        return (each <= threshold) | (everything < self.full_prob)
