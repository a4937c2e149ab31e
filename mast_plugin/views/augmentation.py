"""The augmentation types as data: what exists, with which parameters, in which units and ranges.

Nothing here touches a pixel. :mod:`mast_plugin.views.plan` reads configurations into these types,
:mod:`mast_plugin.views.drawing` draws their numbers, and the interpreters in
:mod:`mast_plugin.views` apply them.

``TYPES`` lists the types in the one order in which they are applied. Crop comes first, so that the
others work on the small image. Colour, grayscale, blur, solarization, equalization and flip follow
as in solo-learn. Sharpness stands before the blur, which would otherwise be undone. Rotation, shear
and translation uncover pixels that are filled with the dataset's mean: they come after everything
that looks at an image's histogram (contrast, equalization) or changes its colours, so that the fill
is neither measured nor tinted and stays at zero after normalisation. Erasing hides what is left,
hence last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from mast_plugin.check import number_within
from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation_type import AugmentationType, Parameter, Ranges, Settings

HUE = "hue_turns"
"""The one drawn number that comes round: after a whole turn colours are as before."""


def _change(name: str, default: float, of: str) -> Parameter:
    meaning = f"{of} is multiplied by a factor in [max(0, 1 - this), 1 + this]"
    return Parameter(name, "factor", 0.0, 3.0, default, 0.0, meaning)


def _hue(name: str) -> Parameter:
    return Parameter(name, "turns", 0.0, 0.5, 0.1, 0.0, "hue is shifted by up to this, either way")


def _angle(default: float, meaning: str) -> Parameter:
    return Parameter("max_angle_deg", "degrees", 0.0, 60.0, default, 0.0, meaning)


def _factor(max_change: float) -> tuple[float, float]:
    return max(0.0, 1.0 - max_change), 1.0 + max_change


def _either_way(largest: float) -> tuple[float, float]:
    return -largest, largest


def _log_ratio(settings: Settings) -> tuple[float, float]:
    return math.log(settings["min_ratio"]), math.log(settings["max_ratio"])


def _by_factor(parameter: str, drawn: str) -> Callable[[Settings], Ranges]:
    return lambda s: {drawn: _factor(s[parameter])}


def _by_either_way(parameter: str, *drawn: str) -> Callable[[Settings], Ranges]:
    return lambda s: {name: _either_way(s[parameter]) for name in drawn}


_CROP = (
    Parameter("min_scale", "share of the area", 0.01, 1.0, 0.08, 1.0, "smallest crop"),
    Parameter("max_scale", "share of the area", 0.01, 1.0, 1.0, 1.0, "largest crop"),
    Parameter("min_ratio", "width / height", 0.1, 10.0, 3 / 4, 1.0, "tallest crop"),
    Parameter("max_ratio", "width / height", 0.1, 10.0, 4 / 3, 1.0, "widest crop"),
)
_JITTER = (
    _change("brightness", 0.4, "every value"),
    _change("contrast", 0.4, "the distance to the image's mean grey"),
    _change("saturation", 0.2, "the distance to the pixel's grey"),
    _hue("hue"),
)
_BLUR = (
    Parameter("min_sigma_px", "pixels of the view", 0.0, 20.0, 0.1, 0.0, "weakest blur"),
    Parameter("max_sigma_px", "pixels of the view", 0.0, 20.0, 2.0, 0.0, "strongest blur"),
)
_ERASING = (
    Parameter("min_area", "share of the area", 0.0, 1.0, 0.02, 0.0, "smallest box"),
    Parameter("max_area", "share of the area", 0.0, 1.0, 0.33, 0.0, "largest box"),
    Parameter("min_ratio", "width / height", 0.1, 10.0, 0.3, None, "tallest box"),
    Parameter("max_ratio", "width / height", 0.1, 10.0, 3.3, None, "widest box"),
)
_THRESHOLD = Parameter(
    "threshold", "share of the value range", 0.0, 1.0, 0.5, 1.0, "values from here up are inverted"
)
_SHIFT = Parameter(
    "max_shift", "share of the side", 0.0, 1.0, 0.1, 0.0, "largest shift along each axis"
)

TYPES: Mapping[str, AugmentationType] = {
    kind.name: kind
    for kind in (
        AugmentationType(
            "crop",
            1.0,
            _CROP,
            "a random box, resized to the view",
            lambda s: {"scale": (s["min_scale"], s["max_scale"]), "log_ratio": _log_ratio(s)},
        ),
        AugmentationType(
            "color_jitter",
            0.8,
            _JITTER,
            "brightness, contrast, saturation, hue: one type, this order",
            lambda s: {
                "brightness_factor": _factor(s["brightness"]),
                "contrast_factor": _factor(s["contrast"]),
                "saturation_factor": _factor(s["saturation"]),
                HUE: _either_way(s["hue"]),
            },
        ),
        AugmentationType(
            "brightness",
            0.8,
            (_change("max_change", 0.4, "every value"),),
            "darker or brighter",
            _by_factor("max_change", "brightness_factor"),
        ),
        AugmentationType(
            "contrast",
            0.8,
            (_change("max_change", 0.4, "the distance to the image's mean grey"),),
            "flatter or harder",
            _by_factor("max_change", "contrast_factor"),
        ),
        AugmentationType(
            "saturation",
            0.8,
            (_change("max_change", 0.2, "the distance to the pixel's grey"),),
            "paler or more colourful",
            _by_factor("max_change", "saturation_factor"),
        ),
        AugmentationType(
            "hue",
            0.8,
            (_hue("max_shift_turns"),),
            "colours move round the wheel",
            _by_either_way("max_shift_turns", HUE),
        ),
        AugmentationType("grayscale", 0.2, (), "luminance only, in three equal channels"),
        AugmentationType(
            "sharpness",
            0.5,
            (_change("max_change", 0.9, "the distance to the smoothed image"),),
            "softer or crisper",
            _by_factor("max_change", "sharpness_factor"),
        ),
        AugmentationType(
            "gaussian_blur",
            0.5,
            _BLUR,
            "Gaussian blur at the view's size",
            lambda s: {"sigma_px": (s["min_sigma_px"], s["max_sigma_px"])},
        ),
        AugmentationType(
            "solarization",
            0.1,
            (_THRESHOLD,),
            "bright values are inverted",
            lambda s: {"threshold": (s["threshold"], s["threshold"])},
        ),
        AugmentationType("equalization", 0.1, (), "every channel's histogram is flattened"),
        AugmentationType("horizontal_flip", 0.5, (), "left and right change places"),
        AugmentationType(
            "rotation",
            0.5,
            (_angle(15.0, "largest angle, either way"),),
            "about the centre",
            _by_either_way("max_angle_deg", "angle_deg"),
        ),
        AugmentationType(
            "shear",
            0.5,
            (_angle(10.0, "largest angle along each axis"),),
            "about the centre",
            _by_either_way("max_angle_deg", "x_angle_deg", "y_angle_deg"),
        ),
        AugmentationType(
            "translation",
            0.5,
            (_SHIFT,),
            "by whole pixels",
            _by_either_way("max_shift", "x_shift", "y_shift"),
        ),
        AugmentationType(
            "erasing",
            0.25,
            _ERASING,
            "a box is filled with the dataset's mean",
            lambda s: {"area": (s["min_area"], s["max_area"]), "log_ratio": _log_ratio(s)},
        ),
    )
}
"""Every type by name, in the order of application (see the module's docstring)."""

JITTER_PARTS = ("brightness", "contrast", "saturation", "hue")
"""The types that ``color_jitter`` contains, in the order in which it applies them.

torchvision and solo-learn shuffle the four; the fixed order is this project's choice, so that two
interpreters can agree on an image.
"""


@dataclass(frozen=True)
class Augmentation:
    """One configured augmentation: what is drawn and applied when its type is active.

    Attributes:
        name: a key of ``TYPES``.
        prob: probability with which an active type is applied to a view, in [0, 1].
        settings: parameter to value; parameters left out take their defaults. Not to be changed.

    Raises:
        ConfigurationError: unknown name or parameter, a value out of range, a minimum above its
            maximum.
    """

    name: str
    prob: float
    settings: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.name not in TYPES:
            raise ConfigurationError(
                f"unknown augmentation type {self.name!r}: use one of {', '.join(TYPES)}"
            )
        prob = number_within(self.prob, 0, 1, f"{self.name}'s prob")
        settings = {parameter.name: parameter.default for parameter in self.type.parameters}
        for name, value in self.settings.items():
            parameter = self.type.parameter(name)
            what = f"{self.name}'s {name} ({parameter.unit})"
            settings[name] = number_within(value, parameter.low, parameter.high, what)
        for name, low in settings.items():
            partner = name.replace("min_", "max_", 1)
            if low > settings.get(partner, low):
                raise ConfigurationError(
                    f"{self.name}'s {name} ({low:g}) must not exceed its {partner} "
                    f"({settings[partner]:g}): lower the one or raise the other"
                )
        object.__setattr__(self, "prob", prob)
        object.__setattr__(self, "settings", settings)

    @property
    def type(self) -> AugmentationType:
        """The entry of ``TYPES``."""
        return TYPES[self.name]

    def scaled(self, strength: float) -> Augmentation:
        """The same augmentation with its parameters moved towards the identity.

        Args:
            strength: in [0, 1]: 1 changes nothing, 0 leaves images alone; linear in between.

        Raises:
            ConfigurationError: ``strength`` out of range, or a type that is only on or off.
        """
        if not self.type.has_strength:
            raise ConfigurationError(
                f"{self.name} is on or off and has no 'strength': lower its 'prob' instead"
            )
        strength = number_within(strength, 0, 1, f"{self.name}'s strength")
        settings = dict(self.settings)
        for parameter in self.type.parameters:
            if parameter.identity is not None:
                value = settings[parameter.name] * strength + parameter.identity * (1 - strength)
                # Rounding may leave the range by one bit.
                settings[parameter.name] = min(max(value, parameter.low), parameter.high)
        return replace(self, settings=settings)

    def __str__(self) -> str:
        options = [f"prob={self.prob:g}"]
        options += [f"{name}={value:.4g}" for name, value in self.settings.items()]
        return f"{self.name}({', '.join(options)})"


def describe() -> str:
    """Every type with its parameters, as a Markdown table for the documentation."""
    rows = ["| type | parameter | unit | range | default | meaning |", "|---|---|---|---|---|---|"]
    for kind in TYPES.values():
        rows.append(f"| `{kind.name}` | `prob` | | [0, 1] | {kind.prob:g} | {kind.meaning} |")
        rows += [
            f"| | `{p.name}` | {p.unit} | [{p.low:g}, {p.high:g}] | {p.default:.3g} | {p.meaning} |"
            for p in kind.parameters
        ]
    return "\n".join(rows)
