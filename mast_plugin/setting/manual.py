"""``--help``: a page for people, made of the configuration files that define the options.

Nothing about an option is written here: names, defaults and comments are those of ``base.yaml``,
``evaluate.yaml`` and ``compare.yaml``, and of :class:`~mast_plugin.core.options.MASTOptions`.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from mast_plugin.setting.configuration import shipped_directory, shipped_recipes

_WIDTH, _COLUMN = 100, 36
_KEY = re.compile(r"( *)([\w.-]+):(?: +([^#]*?))?(?: *# (.*))?")
_NOTE = re.compile(r" +# (.*)")
_NOT_OPTIONS = ("defaults", "hydra")
_ENDING = """\
Lists are typed as [a,b], sections as {key: value}, and paths as they are. With -m, values that are
separated by commas are run one after the other. --cfg job prints the complete configuration without
running anything."""

_PRETRAIN = """\
mast-pretrain pretrains a backbone on images, with or without labels: with MAST, or with any method
of the installed solo-learn.

  mast-pretrain --config-name mast                  an embedded dataset: minutes on a CPU
  mast-pretrain --config-name custom/mast data.train_path=/data/My photos data.no_labels=true
  mast-pretrain --config-name cifar/vicreg method=barlow_twins max_epochs=100 seed=1
  mast-pretrain --config-path my/recipes --config-name mine optimizer.batch_size=64

(in a shell, an argument with spaces or brackets goes in quotes: "data.train_path=/data/My photos")

Recipes: {recipes}.
--config-path names the folder of a recipe of yours; "defaults: [/base, _self_]" gives it every
default. After its third step a run says how long it will take; on a CPU, begin with
crop_size=64."""

_PAGES = {
    "mast-pretrain": ("pretrain", "base", _PRETRAIN),
    "mast-evaluate": (
        "evaluate",
        "evaluate",
        "mast-evaluate measures what a pretrained backbone is worth on labelled images.\n\n"
        "  mast-evaluate checkpoint=trained_models/mast/.../....ckpt dataset=/data/flowers\n"
        "  mast-evaluate checkpoint=resnet50.pth backbone.name=resnet50 dataset=/data/flowers",
    ),
    "mast-compare": (
        "evaluate",
        "compare",
        "mast-compare pretrains several methods by one protocol, and compares what they are worth."
        "\n\n  mast-compare methods=[simclr,vicreg,mast] seeds=[0,1,2]\n"
        "  mast-compare recipes=scripts/pretrain/custom dataset=/data/flowers \\\n"
        '    "overrides={data.train_path: /data/flowers/train, max_epochs: 50}"',
    ),
}


def page(program: str) -> str:
    """The help of a command.

    Args:
        program: ``mast-pretrain``, ``mast-evaluate`` or ``mast-compare``.
    """
    stage, name, introduction = _PAGES[program]
    introduction = introduction.replace("{recipes}", _recipes())
    options = [_row(*each) for each in _options(shipped_directory(stage) / f"{name}.yaml")]
    parts = [
        introduction,
        "Options, as key=value with their defaults:",
        "\n".join(options).rstrip(),
    ]
    if name == "base":
        own = [_row(f"  method_kwargs.{key}", value, note) for key, value, note in _of_the_method()]
        parts += ["MAST's own options:", "\n".join(own)]
    return "\n\n".join([*parts, _ENDING])


def _recipes() -> str:
    text = textwrap.fill(", ".join(shipped_recipes()), _WIDTH - len("Recipes: "))
    return text.replace("\n", "\n  ")


def _options(path: Path) -> Iterator[tuple[str, str, str]]:
    """Key with its indentation, default and comment of every option that a file defines."""
    rows: list[list[str]] = []
    sections: list[str] = []
    variants: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        found = _KEY.fullmatch(line)
        note = _NOTE.fullmatch(line)
        if found and found[2] in _NOT_OPTIONS and not found[1]:
            break
        if found:
            sections = [*sections[: len(found[1]) // 2], found[2]]
        if "variants" in sections[:1]:  # a list of names is enough of them
            variants += sections[1:] if found and len(sections) == 2 else []
        elif found:
            rows.append([f"  {'.'.join(sections)}", found[3] or "", found[4] or ""])
        elif note and rows:
            rows[-1][2] = f"{rows[-1][2]} {note[1]}".strip()
        elif line.lstrip().startswith("- ") and rows:
            rows[-1][1] = f"[{', '.join(filter(None, [rows[-1][1][1:-1], line.strip()[2:]]))}]"
        elif not line and rows:
            rows.append(["", "", ""])
    rows += [["  variants", "", f"what methods may name: {', '.join(variants)}"]] * bool(variants)
    yield from ((key, value, note) for key, value, note in rows if value or note or not key)


def _of_the_method() -> Iterator[tuple[str, str, str]]:
    """Name, default and docstring of each of MAST's options."""
    from mast_plugin.core.options import MASTOptions

    body = ast.parse(inspect.getsource(MASTOptions)).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            text = following.value if isinstance(following, ast.Expr) else None
            note = str(text.value) if isinstance(text, ast.Constant) else ""
            default = json.dumps(ast.literal_eval(node.value)).strip('"')
            yield ast.unparse(node.target), default, note.replace("``", "")


def _row(key: str, value: str, note: str) -> str:
    """One option: what to type on the left, what it means on the right."""
    left = f"{key}={value}" if value else key
    if not note:
        return left
    lines = textwrap.wrap(note, _WIDTH - _COLUMN, break_on_hyphens=False)
    if len(left) >= _COLUMN - 1:
        lines = [left, *(f"{'':{_COLUMN}}{line}" for line in lines)]
    else:
        lines = [f"{left:{_COLUMN}}{lines[0]}", *(f"{'':{_COLUMN}}{line}" for line in lines[1:])]
    return "\n".join(lines)
