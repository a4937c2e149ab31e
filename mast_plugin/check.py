"""Values checked one by one; each refusal is one sentence that says what the value must be."""

from collections.abc import Mapping, Sequence
from typing import Any

from mast_plugin.errors import ConfigurationError


def number_within(value: object, low: float, high: float, name: str) -> float:
    """``value`` as a float, or one sentence that says what ``name`` must be.

    Raises:
        ConfigurationError: not a number, or outside [low, high].
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} must be a number in [{low:g}, {high:g}], not {value!r}")
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must lie in [{low:g}, {high:g}], not at {value:g}")
    return float(value)


def mapping(value: object, name: str, example: str) -> Mapping[str, Any]:
    """``value`` as a mapping of options, or one sentence with an example of what ``name`` can be.

    Raises:
        ConfigurationError: not a mapping.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{name} must be a mapping of options such as {example}, not {value!r}"
        )
    return value


def whole_number(value: object, name: str) -> int:
    """``value`` as an int of at least 1, or one sentence that says what ``name`` must be.

    Raises:
        ConfigurationError: not a whole number, or below 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def channels(values: object, name: str, low: float) -> tuple[float, float, float]:
    """``values`` as one number per channel (RGB) in [``low``, 1], or a sentence that says so.

    Raises:
        ConfigurationError: not three numbers, or one of them out of range.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ConfigurationError(
            f"{name} must list three numbers, for red, green and blue, not {values!r}"
        )
    red, green, blue = (number_within(value, low, 1.0, f"{name}'s entry") for value in values)
    return red, green, blue
