"""solo-learn's way to write a block of augmentations, translated into this project's."""

from collections.abc import Mapping
from typing import Any

from mast_plugin.check import mapping
from mast_plugin.errors import ConfigurationError
from mast_plugin.views.augmentation import JITTER_PARTS

BLOCK_KEYS = ("crop_size", "num_crops", "mean", "std")
"""What a block says, in either dialect, beside its augmentation types."""

_SOLO_OPTIONS = {
    "color_jitter": ("prob", *JITTER_PARTS),
    "grayscale": ("prob",),
    "gaussian_blur": ("prob",),
    "solarization": ("prob",),
    "equalization": ("prob",),
    "horizontal_flip": ("prob",),
}
"""solo-learn's augmentation types beside ``rrc``, and the options that they take."""
_SOLO_CROP = {"crop_min_scale": "min_scale", "crop_max_scale": "max_scale"}


def without_inert(block: Mapping[str, Any]) -> dict[str, Any]:
    """A block without what solo-learn's own script makes us add to a block of ours.

    That is ``rrc: {enabled: false}``, and nothing else in solo-learn's dialect, whose types say
    ``enabled`` (see :meth:`~mast_plugin.host.face.Host.complete_views`). Types with ``prob: 0.0``
    are none in either dialect.
    """
    ours = {key: value for key, value in block.items() if key != "rrc"}
    theirs = any(isinstance(each, Mapping) and "enabled" in each for each in ours.values())
    return dict(block) if theirs or block.get("rrc") != {"enabled": False} else ours


def translated(block: Mapping[str, Any]) -> dict[str, Any]:
    """Translates a block that has ``rrc``.

    solo-learn itself acts on ``enabled`` for the crop alone and on ``prob`` for the rest, so a type
    whose two keys contradict each other is refused.

    Raises:
        ConfigurationError: a key that solo-learn's dialect does not know, or a contradiction.
    """
    known = ("rrc", *_SOLO_OPTIONS, *BLOCK_KEYS)
    for key in block:
        if key not in known:
            raise ConfigurationError(
                f"{key!r} cannot stand beside 'rrc', whose dialect (solo-learn's) knows "
                f"{', '.join(known)}: write crop: {{min_scale: 0.2}} in place of rrc"
            )
    ours = {key: block[key] for key in BLOCK_KEYS if key in block}
    rrc = _solo_options("rrc", block["rrc"], tuple(_SOLO_CROP))
    crop = {_SOLO_CROP[name]: value for name, value in rrc.items() if name in _SOLO_CROP}
    ours["crop"] = {"prob": float(rrc["enabled"]), **crop}
    for name, allowed in _SOLO_OPTIONS.items():
        if name not in block:
            continue
        options = _solo_options(name, block[name], allowed)
        if not options.pop("enabled") and options.setdefault("prob", 0.0) != 0:
            raise ConfigurationError(
                f"{name} has enabled: false but prob {options['prob']!r}, and solo-learn itself "
                "reads only 'prob': set prob: 0.0 to switch it off, or enabled: true"
            )
        if "prob" not in options:
            raise ConfigurationError(f"{name} lacks 'prob', which solo-learn reads: add prob: 0.5")
        ours[name] = options
    return ours


def _solo_options(name: str, given: object, allowed: tuple[str, ...]) -> dict[str, Any]:
    options = {"enabled": True, **mapping(given, name, "{enabled: true}")}
    for key in options:
        if key not in ("enabled", *allowed):
            raise ConfigurationError(
                f"{name} has no option {key!r} in solo-learn's dialect: use one of "
                f"{', '.join(('enabled', *allowed))}, or write crop in place of rrc"
            )
    if not isinstance(options["enabled"], bool):
        raise ConfigurationError(
            f"{name}'s enabled must be true or false, not {options['enabled']!r}"
        )
    return options
