"""Writes two pages' tables from the code as it is: the rooms, and the augmentation types.

``make architecture`` runs it. In docs/architecture.md the floors are those of ``.importlinter``, a
room's sentence is the first line of its docstring, and the arrows are the imports. An arrow that
other arrows already imply is left out of the drawing.
"""

import ast
import re
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from pathlib import Path

import grimp

from mast_plugin.views.augmentation import describe

CHECKOUT = Path(__file__).parents[1]
PACKAGE = "mast_plugin"


def floors() -> list[list[str]]:
    """The rooms of each floor, from the roof to the ground."""
    rules = ConfigParser()
    rules.read(CHECKOUT / ".importlinter")
    layers = rules["importlinter:contract:rooms"]["layers"].split("\n")
    return [[room.strip() for room in layer.split("|")] for layer in layers if layer.strip()]


def arrows() -> dict[str, set[str]]:
    """Which rooms each room imports, itself and imports for type checkers left out."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    found: dict[str, set[str]] = {room: set() for floor in floors() for room in floor}
    for module in graph.modules - {PACKAGE}:
        room = module.split(".")[1]
        targets = graph.find_modules_directly_imported_by(module) - {PACKAGE}
        found[room] |= {target.split(".")[1] for target in targets} - {room}
    return found


def drawn(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no chain of other arrows implies."""

    def below(room: str) -> set[str]:
        return imports[room].union(*(below(other) for other in imports[room]))

    return [
        (room, target)
        for room, targets in imports.items()
        for target in sorted(targets)
        if not any(target in below(other) for other in targets)
    ]


def _files(room: str) -> list[Path]:
    folder = CHECKOUT / PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def _sentence(room: str) -> str:
    folder = CHECKOUT / PACKAGE / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return re.sub(r"``([^`]*)``", r"`\1`", text.split("\n\n")[0].replace("\n", " "))


def _lines(room: str) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in _files(room))


def picture() -> str:
    """The drawing and the table, as Markdown."""
    imports = arrows()
    total = sum(_lines(room) for room in imports)
    rows = [
        f"| {floor} | `{room}{'/' if (CHECKOUT / PACKAGE / room).is_dir() else '.py'}` "
        f"| {round(_lines(room), -2) or 'fewer'} | {_sentence(room)} |"
        for floor, rooms in enumerate(reversed(floors()))
        for room in rooms
    ]
    edges = [f"    {room} --> {target}" for room, target in drawn(imports)]
    return "\n".join(
        [
            "```mermaid",
            "flowchart TD",
            *edges,
            "```",
            "",
            f"{len(imports)} rooms on {len(floors())} floors, about {round(total, -2):,} lines; "
            f"{sum(map(len, imports.values()))} arrows, of which {len(edges)} are drawn that no "
            "chain of others implies.",
            "",
            "| floor | room | lines, about | what it is |",
            "|---|---|---|---|",
            *reversed(rows),
        ]
    )


WRITTEN: Mapping[str, Callable[[], str]] = {"architecture": picture, "augmentations": describe}
"""The pages, by their names in docs/, and what is written into each."""


def page(name: str) -> Path:
    """Where a page lies."""
    return CHECKOUT / "docs" / f"{name}.md"


def written(name: str) -> str:
    """The page with what belongs between its two marks."""
    text = page(name).read_text(encoding="utf-8")
    before, begin, rest = re.split(r"(<!-- \w+: written by docs/architecture.py -->)", text)
    end = rest[rest.index("<!-- end of ") :]
    return f"{before}{begin}\n\n{WRITTEN[name]()}\n\n{end}"


if __name__ == "__main__":
    for each in WRITTEN:
        page(each).write_text(written(each), encoding="utf-8")
