"""Every command of README is one that works, as far as that can be seen without running it."""

import re
import shlex

import pytest

from .. import readme

_PROGRAMS = {"main_pretrain.py": "pretrain", "main_evaluate.py": "evaluate"}
_PROGRAMS |= {"main_compare.py": "compare", "mast-pretrain": "pretrain"}
_PROGRAMS |= {"mast-evaluate": "evaluate", "mast-compare": "compare"}
_PROGRAMS |= {"main_embed.py": "embed", "mast-embed": "embed", "mast-export": "export"}


def commands() -> list[tuple[str, list[str]]]:
    found = []
    for block in readme.blocks():
        for line in block.replace("\\\n", " ").splitlines():
            words = [word for word in shlex.split(line, comments=True) if word != "python"]
            if words and words[0] in _PROGRAMS:
                found.append((_PROGRAMS[words[0]], words[1:]))
    return found


def test_readme_shows_each_command():
    assert {program for program, _ in commands()} == set(_PROGRAMS.values())


@pytest.mark.parametrize(("program", "arguments"), commands(), ids=lambda each: str(each)[:60])
def test_a_command_of_readme_composes_and_names_no_unknown_option(
    program, arguments, monkeypatch, tmp_path
):
    from mast_plugin import compare, embed_images, evaluate, export_network, pretrain
    from mast_plugin.errors import ConfigurationError
    from mast_plugin.setting.configuration import evaluation_options, resolve

    modules = {"pretrain": pretrain, "evaluate": evaluate, "compare": compare}
    module = {**modules, "embed": embed_images, "export": export_network}[program]
    seen = []

    def check(cfg):
        try:
            seen.append(resolve(cfg) if module is pretrain else evaluation_options(cfg, program))
        except ConfigurationError as error:
            assert "data.train_path is missing" in str(error)  # a line that shows only an option
            seen.append(cfg)

    name = {"pretrain": "pretrain", "embed": "embed_to_file", "export": "export"}.get(program)
    name = name or f"{program}_and_report"
    monkeypatch.setattr(module, name, check)
    monkeypatch.setattr("sys.argv", [program, *arguments])
    monkeypatch.chdir(tmp_path)
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            module.main()
        return
    module.main()
    assert len(seen) == 1


def test_every_target_of_make_in_readme_exists():
    targets = re.findall(r"^make (\w+)", "\n".join(readme.blocks()), re.MULTILINE)
    makefile = (readme.CHECKOUT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_the_installation_lines_are_found():
    lines = "".join(readme.blocks(readme.INSTALLATION))
    assert "pip install" in lines and "mast-plugin[release]" in lines
    assert "mast-plugin[mainline]" in lines and "setuptools>=71,<81" in lines
