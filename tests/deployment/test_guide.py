"""Every snippet of Python in the guide, and README's on backbones, runs as it stands."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mast_plugin import embed_images, export_network

HAS_ONNX = all(map(importlib.util.find_spec, ("onnx", "onnxscript", "onnxruntime")))
ROOT = Path(__file__).parents[2]


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of a page's blocks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```(python|bash)\n(.*?)```", text, re.DOTALL)


def snippets(page: str) -> list[str]:
    return [text for language, text in blocks(page) if language == "python"]


def run(line: str, monkeypatch) -> None:
    """A command line, in this process."""
    program, *arguments = shlex.split(line)
    module = {"mast-embed": embed_images, "mast-export": export_network}[program]
    if module is embed_images:
        arguments.append("num_workers=0")
    monkeypatch.setattr("sys.argv", [program, *arguments])
    module.main()


@pytest.fixture
def desk(imagenet_checkpoint, image_folder, tmp_path, monkeypatch):
    """A folder with what the pages speak of: run.ckpt and photos."""
    shutil.copy(imagenet_checkpoint, tmp_path / "run.ckpt")
    shutil.copy(imagenet_checkpoint.parent / "args.json", tmp_path)
    shutil.copytree(image_folder, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_guide_runs_from_top_to_bottom(desk, capsys, monkeypatch):
    names: dict[str, object] = {}
    for language, text in blocks("docs/guide.md"):
        if "onnxruntime" in text and not HAS_ONNX:
            continue
        if language == "python":
            exec(compile(text, "guide.md", "exec"), names)
        else:
            for line in text.splitlines():
                if HAS_ONNX or "onnx" not in line:
                    run(line, monkeypatch)
    shown = capsys.readouterr().out
    assert names["files"][0] == "ant/0.png" and names["features"].shape == (24, 512)
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
