"""Plain values that somebody else wrote (JSON, YAML, a checkpoint's configuration), within bounds.

Neither format can run anything as it is read here. Both can still stop a program: nested more
deeply than Python recurses, or, by a YAML file's aliases and a pickle's references, as a few lines
that stand for more values than any memory holds.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.nodes import ValueNode

MAX_BYTES = 1 << 18
"""A configuration takes a few thousand."""
MAX_VALUES = 20_000
MAX_DEPTH = 40
MAX_ALIASES = 16
"""So many cannot multiply to more than a few hundred copies."""


def read_document(path: Path) -> Any:
    """Read a .json file, or a YAML file under any other name; interpolations are left alone.

    Raises:
        ValueError: what keeps it from being read, on one line: it is no such file, too long, too
            deep, or malformed.
    """
    if not path.is_file():
        raise ValueError("there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            value = json.loads(text)
        else:
            refuse_aliases(text)
            value = OmegaConf.to_container(OmegaConf.create(text))
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    except Exception as error:  # PyYAML and OmegaConf raise of every kind
        raise ValueError(first_line(error)) from error
    refuse_boundless(value)
    return value


def refuse_aliases(text: str) -> None:
    """Refuse a YAML text with more than ``MAX_ALIASES`` aliases.

    Raises:
        ValueError: there are more.
        YAMLError: it is no YAML.
    """
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    if sum(isinstance(event, yaml.AliasEvent) for event in events) > MAX_ALIASES:
        raise ValueError(f"it has more than {MAX_ALIASES} aliases")


def refuse_boundless(value: Any) -> None:
    """Refuse nested values of which a copy would be too deep or too long; what is shared counts.

    Args:
        value: mappings, sequences and OmegaConf's nodes; anything else counts as one value.

    Raises:
        ValueError: deeper than ``MAX_DEPTH``, or more than ``MAX_VALUES`` values.
    """
    count, level = 0, [value]
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES:,} values")
        level = [part for each in level for part in _parts(each)]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, cut to 200 characters.

    Of a YAML error, what is wrong and where.
    """
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{getattr(error, 'problem', 'malformed')}, in line {mark.line + 1}"[:200]
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, BaseContainer):
        value = value.__dict__.get("_content")  # its own iteration would resolve what it holds
    elif isinstance(value, ValueNode):
        value = value.__dict__.get("_val")
        return [value] if isinstance(value, Mapping | list | tuple) else []
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []
