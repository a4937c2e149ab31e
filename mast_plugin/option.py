"""An option is declared once: a field of a frozen dataclass with its default, its range, its words.

From these declarations come the check of a configuration, the shipped files that hold every
default, the pages of ``--help`` and the tables of docs/options.md.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mast_plugin.check import Rule

MISSING = "???"
"""The default of an option that must be given, as OmegaConf writes it."""


@dataclass(frozen=True)
class Option:
    """One option, as it was declared.

    Attributes:
        key: with a dot for each level of sections.
        default: a plain value, or ``MISSING``.
        rule: what a value must be; ``None`` for sections and for what is derived, never given.
        doc: what it does, in one sentence or less; may be empty.
    """

    key: str
    default: Any
    rule: Rule | None
    doc: str

    @property
    def is_section(self) -> bool:
        """Whether it has options of its own."""
        return isinstance(self.default, dict) and bool(self.default)

    @property
    def is_derived(self) -> bool:
        """Whether nobody gives it."""
        return self.rule is None and not self.is_section


def option(default: Any, rule: Rule | None, doc: str = "", *, key: str = "") -> Any:
    """Declare an option as a field of a dataclass.

    Args:
        default: a plain value, or ``MISSING``.
        rule: what a value must be, or ``None`` for what is derived, never given.
        doc: what it does.
        key: where it is no name of Python's.
    """
    metadata = {"default": default, "rule": rule, "doc": doc, "key": key}
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type, doc: str = "") -> Any:
    """Declare a section of options as a field of a dataclass.

    Args:
        kind: a dataclass whose fields are the section's options.
        doc: what they have in common.
    """
    return field(default_factory=kind, metadata={"section": kind, "doc": doc})


def declared(kind: type, prefix: str = "") -> Iterator[Option]:
    """Every option of a dataclass and of its sections, in order; a section before its options.

    Sections come as options whose default is a dictionary that is not empty.

    Args:
        kind: the dataclass.
        prefix: of the keys.
    """
    for each in fields(kind):
        key = prefix + (each.metadata.get("key") or each.name)
        inner = each.metadata.get("section")
        if inner is None:
            default = each.metadata["default"]
            yield Option(key, default, each.metadata["rule"], each.metadata["doc"])
        else:
            yield Option(key, defaults(inner), None, each.metadata["doc"])
            yield from declared(inner, f"{key}.")


def defaults(kind: type) -> dict[str, Any]:
    """The defaults of a dataclass as plain values, its sections as dictionaries."""
    found: dict[str, Any] = {}
    for each in declared(kind):
        if "." not in each.key:
            found[each.key] = each.default
    return found


def rules(kind: type, prefix: str = "") -> Mapping[str, Rule]:
    """What each option of a dataclass must be, by its key with a prefix."""
    return {each.key: each.rule for each in declared(kind, prefix) if each.rule is not None}


def check_all(values: Mapping[str, Any], wanted: Mapping[str, Rule]) -> None:
    """Check every key that there is a rule for and that is given, unless as ``MISSING``.

    Args:
        values: plain values, nested; a rule's key has a dot for each level.
        wanted: what they must be.

    Raises:
        ConfigurationError: naming the first key that the rule of does not hold.
    """
    for key, rule in wanted.items():
        found: Any = values
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                break
            found = found[part]
        else:
            if found != MISSING:
                rule.check(key, found)


def as_text(value: Any) -> str:
    """A plain value as YAML writes it on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(as_text, value))}]"
    text = json.dumps(value)
    # YAML takes a number with an exponent for a text, unless its first part has a point.
    return re.sub(r"^(-?\d+)e", r"\1.0e", text)
