"""The pages that --help prints."""

import re

import pytest
import yaml

from mast_plugin.option import declared
from mast_plugin.setting.composition import guarded
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.manual import page
from mast_plugin.setting.pretraining_schema import Pretraining
from mast_plugin.setting.shipped import shipped_directory

KINDS = {"mast-pretrain": Pretraining, "mast-evaluate": Evaluation, "mast-compare": Comparison}
KINDS |= {"mast-embed": Embedding, "mast-export": Export}


@pytest.mark.parametrize(
    ("program", "stage", "name"),
    [
        ("mast-pretrain", "pretrain", "base"),
        ("mast-evaluate", "evaluate", "evaluate"),
        ("mast-compare", "evaluate", "compare"),
        ("mast-embed", "embed", "embed"),
        ("mast-export", "embed", "export"),
    ],
)
def test_every_option_is_on_its_page_with_its_default(program, stage, name):
    file = shipped_directory(stage) / f"{name}.yaml"
    defined = yaml.safe_load(file.read_text())
    lines = page(program).splitlines()
    derived = {each.key for each in declared(KINDS[program]) if each.is_derived}
    for key, value in defined.items():
        if key in ("defaults", "hydra", "variants"):
            continue
        leaves = (
            {f"{key}.{each}": v for each, v in value.items()}
            if isinstance(value, dict) and value
            else {}
        )
        for each in leaves or [key]:
            is_there = any(re.match(rf"  {re.escape(each)}=.", line) for line in lines)
            assert is_there == (each not in derived), each
    assert all(len(line) <= 100 for line in lines)


def test_the_page_of_pretraining_names_what_a_newcomer_looks_for():
    text = page("mast-pretrain")
    for words in (
        r"crop_size=null +side of the views",
        r"optimizer.batch_size=256 +images of a step",
        r"data.no_labels=false +true for images without labels",
        r"third step a run says how long",
        r"Recipes: mast, .*cifar/mast, .*",
        r"method_kwargs.mask_lr=0.01 +Rate of the mask logits",
    ):
        assert re.search(words, text), words


def test_help_prints_the_page_and_starts_nothing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mast-compare", "--help"])
    with pytest.raises(SystemExit) as stop, guarded("mast-compare"):
        raise AssertionError("it started")
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == page("mast-compare")
