"""What a user types after a command, made into what Hydra reads: paths as they are, no plus signs.

Hydra's notation gives a meaning to commas, brackets, braces, quotes, ``#``, ``=``, ``&`` and more,
and knows no letters but English ones. Where an option is a path, all of them are just text.
"""

import os
import re
import shlex
from collections.abc import Callable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from mast_plugin.option import declared
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.pretraining_schema import Pretraining

_OPTIONS = [
    each
    for kind in (Pretraining, Evaluation, Comparison, Embedding, Export)
    for each in declared(kind)
]
PATHS = frozenset(
    each.key for each in _OPTIONS if each.rule is not None and each.rule.wanted.startswith("a path")
)
"""Options whose values are paths."""
_KEYS = frozenset(each.key for each in _OPTIONS)
_SECTIONS = frozenset(each.key for each in declared(Pretraining) if each.is_section)
"""Some are a path's key elsewhere: ``data={train_path: images}`` and ``data=images`` are typed."""

_OPTION = re.compile(r"(\+{0,2}[^\s=~+-][^=]*)=(.*)", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_NO_PATH = ("", "null", "false", "False", "???")
_FUNCTION = re.compile(r"[a-z_]+\(.*\)", re.DOTALL)
_ENTRY = re.compile(r"(,\s*)(?=[\w.]+\s*:)")
"""Between two entries of a section such as ``{max_epochs: 5, data.train_path: a}``."""


def readable(argument: str, *, sweep: bool = True) -> str:
    """An argument with quotes where Hydra could not read its text, or would read something else.

    Args:
        argument: as the shell passed it on.
        sweep: whether commas stand between the values of a sweep, as with ``-m``. Without one they
            are a path's own.
    """
    found = _OPTION.fullmatch(argument)
    if not found:
        return argument
    key, value = found[1], found[2]
    is_section = key.lstrip("+") in _SECTIONS and value.startswith("{") and value.endswith("}")
    if key.lstrip("+") in PATHS and not is_section:
        return f"{key}={_as_text(value, sweep)}"
    if value.startswith("{") and value.endswith("}") and "{" not in value[1:]:
        return f"{key}={{{''.join(map(_entry, _ENTRY.split(value[1:-1])))}}}"
    if value.startswith(("[", "{")) or _parses(argument):
        return argument  # what cannot be read is said when Hydra tries
    return f"{key}={_as_text(value, sweep)}"


def has_dashes(argument: str) -> bool:
    """Whether an option is typed as other programs take it, such as ``--max_epochs=3``."""
    return argument.startswith("--") and argument[2:].partition("=")[0] in _KEYS


def in_quotes(argument: str) -> str:
    """An option's whole value as one text, to be typed in a shell."""
    key, _, value = argument.partition("=")
    return shlex.quote(f"{key}={_quoted(value)}")


def merging(overrides: Sequence[str], is_group: Callable[[str], bool]) -> list[str]:
    """Overrides that may set keys which a recipe lacks; what is unknown is refused later, by name.

    Hydra itself refuses such a key unless it has a ``+``, whether or not it is an option, and
    refuses one ``+`` where the recipe has the key.

    Args:
        overrides: in Hydra's notation.
        is_group: whether a key chooses a file, such as ``augmentations``.
    """
    return [f"++{each.lstrip('+')}" if _sets_a_key(each, is_group) else each for each in overrides]


def _sets_a_key(override: str, is_group: Callable[[str], bool]) -> bool:
    key, equals, _ = override.lstrip("+").partition("=")
    is_plain = bool(equals) and bool(_PLAIN_KEY.fullmatch(key))
    return is_plain and key.split(".")[0] != "hydra" and ("." in key or not is_group(key))


def _entry(text: str) -> str:
    key, colon, value = text.partition(":")
    is_path = colon and key.strip() in PATHS
    return f"{key}: {_as_text(value.strip(), sweep=False)}" if is_path else text


def _as_text(value: str, sweep: bool) -> str:
    if value in _NO_PATH or "${" in value or (sweep and _FUNCTION.fullmatch(value)):
        return value
    if (value[0] in "'\"" or "\\" in value) and _parses(f"x={value}"):
        return value  # it is in Hydra's notation already
    # A shell leaves the home folder to us: it stands behind an equals sign.
    texts = map(os.path.expanduser, value.split(",") if sweep else [value])
    return ",".join(map(_quoted, texts))


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.double).with_quotes()


def _parses(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True
