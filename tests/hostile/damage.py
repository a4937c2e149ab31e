"""Damage: to the bytes of a file, and to the values of a configuration."""

import copy
import math
import random
from collections.abc import Callable
from typing import Any


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes after one to three accidents."""
    for _ in range(rng.randint(1, 3)):
        content = rng.choice(_ACCIDENTS)(content, rng)
    return content


def _truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randint(0, len(content))]


def _flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 4, 64)) if changed else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _at_the_head(content: bytes, rng: random.Random) -> bytes:
    """Headers are where sizes and types stand."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4) if changed else 0):
        changed[rng.randrange(min(64, len(changed)))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
    return bytes(changed)


def _overwritten(content: bytes, rng: random.Random) -> bytes:
    start, length = rng.randint(0, len(content)), rng.choice((1, 4, 16, 512))
    filling = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return content[:start] + filling + content[start + length :]


def _cut_out(content: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(content))
    return content[:start] + content[start + rng.choice((1, 2, 100, 512)) :]


def _doubled(content: bytes, rng: random.Random) -> bytes:
    start, end = sorted(rng.randint(0, len(content)) for _ in range(2))
    return content[:end] + content[start:]


def _followed(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice((1, 512, 5000)))


def _replaced(content: bytes, rng: random.Random) -> bytes:
    others = (
        b"",
        b"\n",
        b"\0" * 2000,
        b"some text\n" * 20,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"PK\3\4",
    )
    return rng.choice((*others, rng.randbytes(rng.randint(1, 3000))))


_ACCIDENTS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_truncated, _flipped, _flipped, _at_the_head, _overwritten),
    *(_cut_out, _doubled, _followed, _replaced),
)

# What a YAML file can hold where something else is expected.
_NUMBERS = (0, -1, 1, 2, 7, 2**31, 2**63, 10**18, 10**30, 16**5000, -(10**9), 0.5, -0.0, 1e-320)
_WILD = (math.nan, math.inf, -math.inf, 1e308, 1e300)
_TEXTS = (
    "",
    " ",
    "abc",
    "0",
    "1e-3",
    "nan",
    "null",
    "auto",
    "none",
    "mast",
    "vicreg",
    "cpu",
    "all",
)
_ODD = ("???", "${nowhere}", "${data}", "${", "{}", "{0}", "[1,2]", "a\nb", "a\0b", "\u202eevil")
_PLACES = ("..", "../up", "x/y", "images", "labels.csv", "-rf", "~", "a" * 300, "a/" * 3000)
_NAMES = ("prob", "enabled", "strength", "crop", "rrc", "zoom", "_target_", "pretrained", "kwargs")


def _junk(rng: random.Random) -> Any:
    scalars = (None, True, False, *_NUMBERS, *_WILD, *_TEXTS, *_ODD, *_PLACES)
    chance = rng.random()
    if chance < 0.75:
        return rng.choice(scalars)
    if chance < 0.9:
        return [rng.choice(scalars) for _ in range(rng.choice((0, 1, 2, 3, 300)))]
    if chance < 0.97:
        return {rng.choice((*_NAMES, 5, "a.b", "")): rng.choice(scalars) for _ in range(2)}
    nested: Any = 1
    for _ in range(rng.choice((3, 30, 90))):
        nested = rng.choice(([nested], {"a": nested}))
    return nested


def miswritten(text: str, rng: random.Random) -> str:
    """A YAML text after one to three slips of a writer."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        key, _, value = lines[place].partition(":")
        indented = rng.choice((f"  {lines[place]}", lines[place].lstrip(), f"\t{lines[place]}"))
        entry = f"{key}: {rng.choice((*_NUMBERS[:7], *_TEXTS, *_ODD, '[1, 2]', '{a: 1}'))}"
        quoted = f"{key}: {rng.choice(('*a', '&a 1', '!!python/name:os.system', chr(34), '|'))}"
        lines[place] = rng.choice(
            (indented, entry, entry, quoted, f"{key}s:{value}", lines[other], f"# {lines[place]}")
        )
        if rng.random() < 0.2:
            del lines[rng.randrange(len(lines))]
    return "\n".join(lines) + "\n"


def mutated(tree: Any, rng: random.Random) -> Any:
    """A copy of nested values with one to three of them changed, added, removed or moved."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _mutate(tree, rng)
    return tree


def _mutate(tree: Any, rng: random.Random) -> None:
    places = list(_places(tree))
    if not places:
        return
    parent, key = rng.choice(places)
    value = parent[key]
    action = rng.randrange(14)
    if action > 7:
        parent[key] = _plausible(value, rng)
    elif action < 3:
        parent[key] = _junk(rng)
    elif action == 3 and _is_number(value):
        parent[key] = rng.choice((-value, value * 10**9, str(value), value + 0.5, [value]))
    elif action == 4:
        del parent[key]
    elif action == 5 and isinstance(parent, dict):
        parent[rng.choice((*_NAMES, f"{key}s", "a" * 300, "a\nb"))] = _junk(rng)
    elif action == 6:
        parent[key] = rng.choice(([value], {"a": value}, str(value), [value] * 3))
    else:
        other, place = rng.choice(places)
        parent[key] = copy.deepcopy(other[place])


def _plausible(value: Any, rng: random.Random) -> Any:
    """A value of the same type: what is well formed gets further than junk does."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((0, 1, 2, 3, 10, 100, value + 1, 5000, 2**20))
    if isinstance(value, float):
        return rng.choice((0.0, 0.01, 0.5, 1.0, 2.0, value / 3, value * 7, 100.0, 1e-9))
    if isinstance(value, str):
        return rng.choice((value.upper(), value[1:], f"{value}2", *_TEXTS))
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**9


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        found.append((tree, key))
        if isinstance(tree[key], dict | list):
            found += _places(tree[key])
    return found
