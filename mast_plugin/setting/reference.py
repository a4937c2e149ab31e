"""The shipped files that list every option, written from their declarations.

``make options`` writes them anew; a test fails where one of them is not what this module writes.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from mast_plugin.core.options import MASTOptions
from mast_plugin.option import Option, as_text, declared
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.pretraining_schema import Pretraining
from mast_plugin.setting.shipped import shipped_directory

_WIDTH = 100
_COLUMN = 28
_NOTE = "Written from the options' declarations by `make options`: change them there, not here."
_OF_HYDRA = """\

defaults:
{defaults}  - _self_
  - override hydra/hydra_logging: disabled
  - override hydra/job_logging: disabled

hydra:
  output_subdir: null
  run:
    dir: .
"""
_SWEEP = """\
  sweep:
    dir: .
    subdir: .
"""
_COMMANDS: Mapping[str, type] = {
    "main_pretrain.py": Pretraining,
    "main_evaluate.py": Evaluation,
    "main_compare.py": Comparison,
    "main_embed.py": Embedding,
    "main_export.py": Export,
}


def shipped() -> dict[Path, str]:
    """Every written file, by its place inside of the checkout."""
    pretrain, evaluate = Path("scripts/pretrain"), Path("scripts/evaluate")
    hydra = _OF_HYDRA.format(defaults="")
    compare = as_yaml(each for each in declared(Comparison) if each.key != "variants")
    compare += _OF_HYDRA.format(defaults="  - variants\n") + _SWEEP
    embed = "# python main_embed.py checkpoint=PATH data=FOLDER\n" + as_yaml(declared(Embedding))
    export = "# python main_export.py checkpoint=PATH format=timm\n" + as_yaml(declared(Export))
    files = {
        Path("scripts/embed/embed.yaml"): embed + hydra,
        Path("scripts/embed/export.yaml"): export + hydra,
        pretrain / "base.yaml": "# Every key of a pretraining, with its default.\n"
        + as_yaml(declared(Pretraining)),
        pretrain / "method_kwargs" / "mast.yaml": "# MAST's options, with their defaults.\n"
        + as_yaml(declared(MASTOptions)),
        evaluate / "evaluate.yaml": "# python main_evaluate.py checkpoint=PATH\n"
        + as_yaml(declared(Evaluation))
        + hydra,
        evaluate / "compare.yaml": "# python main_compare.py methods=[simclr,vicreg,mast]\n"
        + compare,
    }
    written = {path: f"# {_NOTE}\n{text}" for path, text in files.items()}
    return written | {Path("docs/options.md"): as_page()}


def as_yaml(options: Iterable[Option]) -> str:
    """Options as a YAML file with a comment each; sections stand between empty lines."""
    lines: list[str] = []
    inside = ""
    for each in options:
        *sections, name = each.key.split(".")
        section = ".".join(sections)
        if lines and (each.is_section or section != inside):
            lines.append("")
        inside = each.key if each.is_section else section
        value = "" if each.is_section else f" {as_text(each.default)}"
        lines += _with_comment(f"{'  ' * len(sections)}{name}:{value}", each.doc)
    return re.sub(r"\n\n+", "\n\n", "\n".join(lines)) + "\n"


def as_page() -> str:
    """docs/options.md: a table for each command, and one of MAST's own options."""
    parts = [
        "# Which options are there?",
        "Each is typed as `key=value` after a command, or stands in a recipe. "
        "`--help` prints the same. " + _NOTE,
    ]
    for command, kind in _COMMANDS.items():
        parts += [f"## {command}", _as_table(declared(kind))]
    parts += ["## MAST's own: method_kwargs", _as_table(declared(MASTOptions))]
    return "\n\n".join(parts) + "\n"


def _as_table(options: Iterable[Option]) -> str:
    rows = ["| option | default | must be | what it does |", "|---|---|---|---|"]
    for each in options:
        if each.is_derived:
            continue
        default = "" if each.is_section else f"`{as_text(each.default)}`"
        wanted = "" if each.rule is None else each.rule.wanted
        cells = (f"`{each.key}`", default, wanted, each.doc)
        row = " | ".join(each.replace("|", "\\|").replace("<", "&lt;") for each in cells)
        rows.append(f"| {row} |")
    return "\n".join(rows)


def _with_comment(line: str, doc: str) -> list[str]:
    if not doc:
        return [line]
    start = max(_COLUMN, len(line) + 2)
    notes = textwrap.wrap(doc, _WIDTH - start - 2, break_on_hyphens=False)
    first = f"{line:{start}}# {notes[0]}"
    return [first, *(f"{'':{start}}# {note}" for note in notes[1:])]


def main() -> None:
    """Write every file into the checkout that this package is in."""
    root = shipped_directory().parents[1]
    if not (root / "setup.cfg").is_file():
        sys.exit("make options writes into a checkout, and this package is not in one")
    for path, text in shipped().items():
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
