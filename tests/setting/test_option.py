"""One declaration of every option, and what is written from it."""

from dataclasses import dataclass
from typing import Any

import pytest
from omegaconf import OmegaConf

from mast_plugin.check import whole
from mast_plugin.core.options import MASTOptions
from mast_plugin.errors import ConfigurationError
from mast_plugin.option import check_all, declared, defaults, option, rules, section
from mast_plugin.setting.embedding_schema import Embedding
from mast_plugin.setting.evaluation_schema import Comparison, Evaluation
from mast_plugin.setting.export_schema import Export
from mast_plugin.setting.pretraining_schema import Pretraining
from mast_plugin.setting.reference import as_page, as_yaml, shipped
from mast_plugin.setting.shipped import shipped_directory

ROOT = shipped_directory().parents[1]
EVERY = [Pretraining, Evaluation, Comparison, Embedding, Export, MASTOptions]


@dataclass(frozen=True)
class Inner:
    small: Any = option(1e-5, None, key="very-small")
    many: Any = option([1, 2], None, "a list")


@dataclass(frozen=True)
class Outer:
    first: Any = option(None, whole(1), "a line " * 20)
    inner: Any = section(Inner, "a section")
    last: Any = option("???", whole(1))


@pytest.mark.parametrize("path", shipped(), ids=str)
def test_what_is_shipped_is_what_the_declarations_say(path):
    assert (ROOT / path).read_text() == shipped()[path], "run make options"


@pytest.mark.parametrize("kind", EVERY)
def test_a_default_is_what_its_own_rule_allows(kind):
    check_all(defaults(kind), rules(kind))


@pytest.mark.parametrize("kind", [*EVERY, Outer])
def test_the_yaml_reads_back_as_the_defaults(kind):
    text = as_yaml(declared(kind))
    assert OmegaConf.to_container(OmegaConf.create(text)) == defaults(kind)
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_section_names_its_options_and_keys_need_no_names_of_python():
    assert defaults(Outer) == {
        "first": None,
        "inner": {"very-small": 1e-5, "many": [1, 2]},
        "last": "???",
    }
    assert list(rules(Outer, "a.")) == ["a.first", "a.last"]
    with pytest.raises(ConfigurationError, match=r"^first is 0; it must be a whole number"):
        check_all({"first": 0}, rules(Outer))
    check_all({"last": "???"}, rules(Outer))


def test_a_mutable_default_is_not_shared():
    Inner().many.append(3)
    assert Inner().many == [1, 2]


def test_the_page_has_a_row_for_every_option_that_can_be_given():
    page = as_page()
    for kind in EVERY:
        for each in declared(kind):
            assert (f"| `{each.key}` |" in page) != each.is_derived, each.key
