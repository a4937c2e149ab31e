"""Every snippet of Python in the guide, and README's on backbones, runs as it stands."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def snippets(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def desk(checkpoint, image_folder, tmp_path, monkeypatch):
    """A folder with what the pages speak of: run.ckpt and photos."""
    shutil.copy(checkpoint, tmp_path / "run.ckpt")
    shutil.copy(checkpoint.parent / "args.json", tmp_path)
    shutil.copytree(image_folder, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_runs_from_top_to_bottom(desk, capsys):
    names: dict[str, object] = {}
    for snippet in snippets("docs/guide.md"):
        exec(compile(snippet, "guide.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "torch.Size([24, 512])" in shown and "ant/0.png ant" in shown
    with Image.open("photos/ant/0.png") as image:
        assert names["transform"](image).shape == (3, 24, 24)


def test_readme_shows_a_backbone_within_its_first_60_lines(desk):
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (snippet,) = [each for each in snippets("README.md") if "load_backbone" in each]
    assert lines.index(snippet.splitlines()[-1]) < 60
    names: dict[str, object] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["found"].features.shape == (24, 512)
