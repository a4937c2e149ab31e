"""What pages say of the code is made from the code, and nobody writes it by hand."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip(
    "grimp", reason="import-linter is not installed: pip install 'mast-plugin[test]'"
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def architecture():
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_lines(page: str) -> str:
    """The page without its counts of lines, which move with every edit."""
    page = re.sub(r"about [\d,]+ lines", "", page)
    return re.sub(r"(?<=\| )(\d+|fewer)(?= \| [A-Z])", "", page)


@pytest.mark.parametrize("name", ["architecture", "augmentations"])
def test_a_page_is_what_the_code_makes_of_it(name, architecture):
    found = architecture.page(name).read_text(encoding="utf-8")
    assert without_lines(architecture.written(name)) == without_lines(found), (
        "the rooms or the types have changed: run make architecture"
    )


def test_every_room_has_a_sentence(architecture):
    assert all(architecture._sentence(room) for floor in architecture.floors() for room in floor)


def test_an_arrow_that_others_imply_is_not_drawn(architecture):
    imports = {"roof": {"middle", "ground"}, "middle": {"ground"}, "ground": set()}
    assert architecture.drawn(imports) == [("roof", "middle"), ("middle", "ground")]


def test_every_path_in_the_pages_is_there():
    """Modules, tests and scripts that README and docs name."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    pages += [ROOT / "CONTRIBUTING.md"]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        roots = "mast_plugin|tests|benchmarks|scripts|hydra_plugins|docs"
        paths = re.findall(rf"(?<![\w./-])((?:{roots})/[\w./-]+\.(?:py|yaml|md|json))\b", text)
        missing = [path for path in paths if not (ROOT / path).is_file()]
        assert not missing, f"{page.name} names {missing}"
        for name in re.findall(r"\bmast_plugin((?:\.[a-z_]+)+)", text):
            parts = name.strip(".").split(".")
            found = any(
                (ROOT / "mast_plugin" / Path(*parts[:end])).with_suffix(".py").is_file()
                for end in range(1, len(parts) + 1)
            )
            is_folder = (ROOT / "mast_plugin" / Path(*parts)).is_dir()
            assert found or is_folder or name == ".pth", f"{page.name} names mast_plugin{name}"
