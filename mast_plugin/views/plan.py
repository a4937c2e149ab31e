"""Configured blocks of augmentations, read once into immutable plans.

A block is a mapping with ``crop_size``, ``num_crops``, optionally ``mean`` and ``std``, and one
entry per augmentation type, whose options are ``prob``, ``strength`` and the type's parameters::

    crop_size: 32
    num_crops: 2
    crop: {min_scale: 0.2}
    color_jitter: {prob: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.2, hue: 0.1}
    gaussian_blur: {prob: 0.5, strength: 0.5}

A block that has ``rrc`` instead of ``crop`` is in solo-learn's dialect and is translated. Two views
may be made by two blocks with ``num_crops: 1`` each; see :func:`pair_of`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mast_plugin.check import channels, mapping, whole_number
from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation import JITTER_PARTS, TYPES, Augmentation
from mast_plugin.views.dialect import BLOCK_KEYS, translated, without_inert

Block = Mapping[str, Any]

NO_VIEWS = (
    "the configuration has no augmentations: list their blocks (docs/augmentations.md), or begin "
    "with a shipped recipe, such as --config-name cifar/mast"
)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_REQUIRED = {"crop_size": 32, "num_crops": 2}
"""What every block must say, with the example that its absence is answered with."""


@dataclass(frozen=True)
class Plan:
    """What can happen to a view.

    Attributes:
        crop_size: side of the square view in pixels, in [1, 4096].
        augmentations: in order of application, whatever the order given; those with ``prob`` 0
            are left out.
        mean: per channel (RGB), subtracted from values in [0, 1]; also what uncovered and erased
            pixels are filled with.
        std: per channel, what the difference is divided by; above 0.

    Raises:
        ConfigurationError: nothing left to apply, a type twice (``color_jitter`` contains four
            others), or a number out of range.
    """

    crop_size: int
    augmentations: tuple[Augmentation, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        order = list(TYPES)
        present = sorted(
            (augmentation for augmentation in self.augmentations if augmentation.prob > 0),
            key=lambda augmentation: order.index(augmentation.name),
        )
        _refuse_overlap([augmentation.name for augmentation in present])
        if "crop" in [augmentation.name for augmentation in present[1:]]:
            raise ConfigurationError(
                "crop must come first in augmentation.TYPES: all others work at the view's size"
            )
        object.__setattr__(self, "crop_size", whole_number(self.crop_size, "crop_size", 4096))
        object.__setattr__(self, "augmentations", tuple(present))
        object.__setattr__(self, "mean", channels(self.mean, "mean", 0.0))
        object.__setattr__(self, "std", channels(self.std, "std", 1e-6))

    @property
    def types(self) -> tuple[str, ...]:
        """The names of the K augmentation types, in the order of a route's columns."""
        return tuple(augmentation.name for augmentation in self.augmentations)

    @property
    def views(self) -> tuple[Plan, Plan]:
        """The plans of the first and the second view of a pair."""
        return self, self

    @property
    def fill(self) -> tuple[int, int, int]:
        """``mean`` as an 8-bit colour: within half a level of zero after normalisation."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue

    def __str__(self) -> str:
        return f"{self.crop_size} px: {' -> '.join(str(each) for each in self.augmentations)}"


@dataclass(frozen=True)
class PairPlan(Plan):
    """What can happen to a pair whose two views are made by two plans; :func:`pair_of` makes it.

    As a plan it is the union: every type that either view has, once.

    Attributes:
        first: of the first view.
        second: of the second view.
    """

    first: Plan = field(kw_only=True)
    second: Plan = field(kw_only=True)

    @property
    def views(self) -> tuple[Plan, Plan]:
        """The plans of the first and the second view of a pair."""
        return self.first, self.second

    def __str__(self) -> str:
        return f"{self.first} | {self.second}"


def pair_of(first: Plan, second: Plan) -> Plan:
    """The plan of pairs whose views are made by two plans; one of the two where they are equal.

    Where both have a type, the union has it as the view that applies it more often, or else as the
    first.

    Raises:
        ConfigurationError: views of different sizes or normalisations, or ``color_jitter`` in the
            one and a part of it in the other.
    """
    if first == second:
        return first
    for name in ("crop_size", "mean", "std"):
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise ConfigurationError(
                f"the two views of a pair differ in {name} ({ours} and {theirs}): give both blocks "
                "the same"
            )
    union: dict[str, Augmentation] = {}
    for each in (*first.augmentations, *second.augmentations):
        if union.setdefault(each.name, each).prob < each.prob:
            union[each.name] = each
    size, mean, std = first.crop_size, first.mean, first.std
    return PairPlan(size, tuple(union.values()), mean, std, first=first, second=second)


@dataclass(frozen=True)
class ViewSpec:
    """One block: ``num_crops`` views per image (in [1, 4096]), each made by ``plan``."""

    plan: Plan
    num_crops: int

    def __post_init__(self) -> None:
        whole_number(self.num_crops, "num_crops")


def parse_views(
    blocks: Sequence[Block],
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> tuple[ViewSpec, ...]:
    """Reads blocks of either dialect.

    Args:
        blocks: plain mappings, one per kind of view.
        mean: per channel, for blocks that name none.
        std: per channel, for blocks that name none.

    Raises:
        ConfigurationError: anything unknown, missing, out of range or contradictory; the message
            names the block, the key and the mend.
    """
    if isinstance(blocks, Mapping | str) or not isinstance(blocks, Sequence) or not blocks:
        raise ConfigurationError(
            "augmentations must be a list with at least one block such as "
            "- {crop_size: 32, num_crops: 2, crop: {}, horizontal_flip: {}}"
        )
    specs = []
    for index, block in enumerate(blocks):
        try:
            specs.append(_parse_block(block, mean, std))
        except ConfigurationError as error:
            raise ConfigurationError(f"augmentations[{index}]: {error}") from None
    return tuple(specs)


def parse_pair(
    blocks: Sequence[Block],
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Plan:
    """Reads the plan of MAST's two views.

    Args:
        blocks: one block with ``num_crops: 2``, or one with ``num_crops: 1`` for each view.
        mean: as in :func:`parse_views`.
        std: as in :func:`parse_views`.

    Raises:
        ConfigurationError: as in :func:`parse_views` and :func:`pair_of`, or not exactly two views.
    """
    specs = parse_views(blocks, mean=mean, std=std)
    if sum(spec.num_crops for spec in specs) != 2:
        counts = ", ".join(str(spec.num_crops) for spec in specs)
        raise ConfigurationError(
            "MAST routes two views per image: write one block with num_crops: 2, or two blocks "
            f"with num_crops: 1, instead of {len(specs)} with num_crops {counts}"
        )
    return pair_of(specs[0].plan, specs[-1].plan)


def _parse_block(block: object, mean: Sequence[float], std: Sequence[float]) -> ViewSpec:
    options = mapping(block, "a block", "{crop_size: 32, num_crops: 2, crop: {}}")
    options = without_inert(options)
    if "rrc" in options:
        options = translated(options)
    for key, example in _REQUIRED.items():
        if key not in options:
            raise ConfigurationError(f"{key!r} is missing: add for example {key}: {example}")
    types = [key for key in options if key not in BLOCK_KEYS]
    plan = Plan(
        crop_size=options["crop_size"],
        augmentations=tuple(_parse_augmentation(name, options[name]) for name in types),
        mean=options.get("mean", mean),
        std=options.get("std", std),
    )
    return ViewSpec(plan, options["num_crops"])


def _parse_augmentation(name: str, given: object) -> Augmentation:
    if name not in TYPES:
        raise ConfigurationError(
            f"unknown key {name!r}: use one of {', '.join((*BLOCK_KEYS, *TYPES))}"
        )
    settings = dict(mapping(given, name, "{prob: 0.5}"))
    if "enabled" in settings:
        raise ConfigurationError(
            f"{name}'s 'enabled' is solo-learn's dialect, which goes with 'rrc': here set prob: 0 "
            "or leave the type out"
        )
    prob = settings.pop("prob", TYPES[name].prob)
    strength = settings.pop("strength", None)
    augmentation = Augmentation(name, prob, settings)
    return augmentation if strength is None else augmentation.scaled(strength)


def _refuse_overlap(names: Sequence[str]) -> None:
    if not names:
        raise ConfigurationError(
            f"no augmentation type is switched on: give at least one of {', '.join(TYPES)} "
            "a prob above 0"
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{name} is given twice: keep one of the two")
        if name in JITTER_PARTS and "color_jitter" in names:
            raise ConfigurationError(
                f"color_jitter already contains {name}: keep color_jitter, or replace it by any "
                f"of {', '.join(JITTER_PARTS)}"
            )
