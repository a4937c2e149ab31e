"""``--help``: a page for people, made of the declarations of the options."""

import textwrap
from collections.abc import Iterable

from mast_plugin.option import Option, as_text, declared
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.pretraining_schema import Pretraining
from mast_plugin.setting.shipped import shipped_recipes, shipped_variants

_WIDTH, _COLUMN = 100, 36
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
    "mast-pretrain": (Pretraining, _PRETRAIN),
    "mast-evaluate": (
        Evaluation,
        "mast-evaluate measures what a pretrained backbone is worth on labelled images.\n\n"
        "  mast-evaluate checkpoint=trained_models/mast/.../....ckpt dataset=/data/flowers\n"
        "  mast-evaluate checkpoint=resnet50.pth backbone.name=resnet50 dataset=/data/flowers",
    ),
    "mast-compare": (
        Comparison,
        "mast-compare pretrains several methods by one protocol, and compares what they are worth."
        "\n\n  mast-compare methods=[simclr,vicreg,mast] seeds=[0,1,2]\n"
        "  mast-compare recipes=scripts/pretrain/custom dataset=/data/flowers \\\n"
        '    "overrides={data.train_path: /data/flowers/train, max_epochs: 50}"',
    ),
    "mast-embed": (
        Embedding,
        "mast-embed writes a vector of each image of a folder, by a pretrained network.\n\n"
        "  mast-embed checkpoint=trained_models/mast/.../....ckpt data=/data/photos\n"
        "  mast-embed checkpoint=run.ckpt data=/data/photos output=photos.parquet \\\n"
        '    "invariant_to=[crop,horizontal_flip]"\n'
        "  mast-embed checkpoint=resnet50.pth backbone.name=resnet50 data=/data/photos\n\n"
        "An interrupted call goes on when it is typed again.",
    ),
    "mast-export": (
        Export,
        "mast-export writes a pretrained network for other programs.\n\n"
        "  mast-export checkpoint=run.ckpt format=torchvision output=resnet18.pth\n"
        "  mast-export checkpoint=run.ckpt format=timm output=my-resnet18\n"
        '  mast-export checkpoint=run.ckpt format=onnx "invariant_to=[crop]"',
    ),
}


def page(program: str) -> str:
    """The help of a command.

    Args:
        program: ``mast-pretrain``, ``mast-evaluate``, ``mast-compare``, ``mast-embed`` or
            ``mast-export``.
    """
    kind, introduction = _PAGES[program]
    parts = [
        introduction.replace("{recipes}", _recipes()),
        "Options, as key=value with their defaults:",
        _rows(declared(kind)),
    ]
    if kind is Pretraining:
        from mast_plugin.core.options import MASTOptions

        parts += ["MAST's own options:", _rows(declared(MASTOptions, "method_kwargs."))]
    return "\n\n".join([*parts, _ENDING])


def _recipes() -> str:
    text = textwrap.fill(", ".join(shipped_recipes()), _WIDTH - len("Recipes: "))
    return text.replace("\n", "\n  ")


def _rows(options: Iterable[Option]) -> str:
    """One line or more for each option, sections between empty lines."""
    rows: list[str] = []
    for each in options:
        if each.is_derived:
            continue
        ends_section = rows and "." not in each.key and rows[-1] and "." in rows[-1].split("=")[0]
        if rows and rows[-1] and (each.is_section or ends_section):
            rows.append("")
        doc = each.doc
        if each.key == "variants":
            doc = f"what methods may name: {', '.join(shipped_variants())}"
        if not each.is_section:
            rows.append(_row(f"  {each.key}", as_text(each.default), doc))
        elif doc:
            rows.append(_row(f"  {each.key}", "", doc))
    return "\n".join(rows)


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
