"""Values checked one by one; each refusal is one sentence that says what the value must be."""

import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mast_plugin.errors import ConfigurationError, shown

LOADING_OPTIONS = (
    "checkpoint_path",
    "pretrained",
    "pretrained_backbone",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "weights",
    "weights_backbone",
)
"""Options by which a builder of timm or torchvision loads weights of its own, past all checks."""

_LARGEST = 10**9
_LONGEST = 4096


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Attributes:
        holds: whether a value is that; it may be asked about anything.
        wanted: the same in words, as they follow "it must be".
    """

    holds: Callable[[Any], bool]
    wanted: str

    def __or__(self, other: "Rule") -> "Rule":
        """Either of the two."""
        wanted = f"{self.wanted}, or {other.wanted}"
        return Rule(lambda value: self.holds(value) or other.holds(value), wanted)

    def check(self, key: str, value: object) -> None:
        """Refuse a value that the rule does not hold for.

        Raises:
            ConfigurationError: naming the key.
        """
        if not self.holds(value):
            raise ConfigurationError(f"{key} is {shown(value)}; it must be {self.wanted}")


def whole(low: int, high: int = _LARGEST) -> Rule:
    """A whole number in [low, high]."""
    limits = f"of at least {low}" if high == _LARGEST else f"in [{low}, {high}]"
    return Rule(
        lambda value: type(value) is int and low <= value <= high, f"a whole number {limits}"
    )


def number(low: float, high: float = math.inf) -> Rule:
    """A finite number in [low, high]."""
    limits = f"at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
    return Rule(lambda v: _is_number(v) and low <= v <= high, f"a number, {limits}")


def open_interval(low: float, high: float) -> Rule:
    """A number in (low, high)."""
    return Rule(lambda v: _is_number(v) and low < v < high, f"a number, in ({low:g}, {high:g})")


def one_of(*choices: object) -> Rule:
    """One of some words or numbers."""
    words = ", ".join("null" if choice is None else str(choice) for choice in choices)
    allowed = [(type(choice), choice) for choice in choices]
    return Rule(lambda value: (type(value), value) in allowed, f"one of {words}")


def list_of(rule: Rule, example: str, length: int | None = None) -> Rule:
    """A list, of any length where none is given, with a rule for every entry."""

    def holds(value: object) -> bool:
        is_list = isinstance(value, list | tuple) and length in (None, len(value))
        return is_list and all(map(rule.holds, value))  # type: ignore[call-overload]

    return Rule(holds, f"a list such as {example}")


NULL = Rule(lambda value: value is None, "null")
FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
TEXT = Rule(lambda value: isinstance(value, str) and _is_text(value), "a text")
ANYTHING = Rule(lambda value: True, "what its reader asks for")
PATH = Rule(lambda v: isinstance(v, str | os.PathLike) and is_path(str(v)), "a path")
PATH_TEXT = Rule(lambda v: isinstance(v, str) and is_path(v), "a path")
SECTION = Rule(lambda value: isinstance(value, Mapping), "a section of keys")
WORD = Rule(lambda v: isinstance(v, str) and bool(re.fullmatch(r"\w{1,100}", v)), "a word")
FILE_NAME = Rule(
    # It names files, and a pattern that other files are found by.
    lambda v: isinstance(v, str) and bool(re.fullmatch(r"(?!\.)[^/\\{}\[\]*?\x00-\x1f]{1,100}", v)),
    "a name of up to 100 characters, without / \\ { } [ ] * ? and no dot in front",
)


def refuse_unprintable(values: object, path: str = "") -> None:
    """Refuse what no option can be: keys but words, numbers without bounds, endless texts.

    Args:
        values: plain values, nested by mappings and lists.
        path: of the values, for messages.

    Raises:
        ConfigurationError: naming the place.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            if not isinstance(key, str) or not _is_text(key) or len(key) > 200:
                raise ConfigurationError(f"{path or 'a section'} has the key {shown(key)}: name it")
            refuse_unprintable(value, f"{path}.{key}" if path else key)
    elif isinstance(values, list | tuple):
        for index, value in enumerate(values):
            refuse_unprintable(value, f"{path}.{index}")
    else:
        _PLAIN.check(path or "a value", values)


def number_within(value: object, low: float, high: float, name: str) -> float:
    """``value`` as a float, or one sentence that says what ``name`` must be.

    Raises:
        ConfigurationError: not a number, or outside [low, high].
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(
            f"{name} must be a number in [{low:g}, {high:g}], not {shown(value)}"
        )
    if not low <= value <= high:
        raise ConfigurationError(f"{name} must lie in [{low:g}, {high:g}], not at {shown(value)}")
    return float(value)


def mapping(value: object, name: str, example: str) -> Mapping[str, Any]:
    """``value`` as a mapping of options, or one sentence with an example of what ``name`` can be.

    Raises:
        ConfigurationError: not a mapping.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"{name} must be a mapping of options such as {example}, not {shown(value)}"
        )
    return value


def whole_number(value: object, name: str, most: int = 4096) -> int:
    """``value`` as an int in [1, ``most``], or one sentence that says what ``name`` must be.

    Raises:
        ConfigurationError: not a whole number, or outside.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigurationError(
            f"{name} must be a whole number of at least 1 and at most {most}, not {shown(value)}"
        )
    return value


def channels(values: object, name: str, low: float) -> tuple[float, float, float]:
    """``values`` as one number per channel (RGB) in [``low``, 1], or a sentence that says so.

    Raises:
        ConfigurationError: not three numbers, or one of them out of range.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 3:
        raise ConfigurationError(
            f"{name} must list three numbers, for red, green and blue, not {shown(values)}"
        )
    red, green, blue = (number_within(value, low, 1.0, f"{name}'s entry") for value in values)
    return red, green, blue


def refuse_loading(kwargs: Collection[str], key: str, mend: str) -> None:
    """Refuse options by which a network's builder would load weights itself.

    Args:
        kwargs: names of the options.
        key: where they were given.
        mend: the option that weights can be given with.

    Raises:
        ConfigurationError: naming the first.
    """
    if loading := sorted(set(kwargs) & set(LOADING_OPTIONS)):
        raise ConfigurationError(
            f"{key}.{loading[0]} would have the network's builder load a file that nothing "
            f"checks: leave it out, and give the weights with {mend}"
        )


def is_path(text: str) -> bool:
    """Whether a file could have this path; the system raises where another one is looked up."""
    return _is_text(text) and all(len(part.encode()) <= 255 for part in text.split("/"))


def _is_number(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -1e300 < value < 1e300  # type: ignore[operator]


def _is_text(value: str) -> bool:
    return len(value) <= _LONGEST and not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value)


_PLAIN = Rule(
    lambda value: (
        value is None
        or isinstance(value, bool)
        or (isinstance(value, int) and abs(value) < 1 << 63)
        or (isinstance(value, float) and _is_number(value))
        # What still looks like an interpolation would be taken for one later.
        or (
            isinstance(value, str | os.PathLike) and _is_text(str(value)) and "${" not in str(value)
        )
    ),
    "a finite number, true, false, null, or one line of text without ${",
)
