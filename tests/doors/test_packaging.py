"""What a user gets who installs the wheel instead of cloning."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
CONFIGURATIONS = sorted((CHECKOUT / "scripts" / "pretrain").rglob("*.yaml"))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy, so that building leaves nothing in the checkout."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for name in filter(None, tracked):
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((CHECKOUT / name).read_bytes())
    return source


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_both_packages_and_every_configuration(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mast_plugin/method.py", "hydra_plugins/mast_searchpath/__init__.py"} <= names
    sources = {
        str(path.relative_to(CHECKOUT))
        for package in ("mast_plugin", "hydra_plugins")
        for path in (CHECKOUT / package).rglob("*.py")
    }
    assert sources <= names
    for path in CONFIGURATIONS:
        relative = path.relative_to(CHECKOUT / "scripts" / "pretrain")
        assert f"mast_plugin/pretrain_configs/{relative}" in names
    for name in ("evaluate_configs/evaluate.yaml", "evaluate_configs/compare.yaml"):
        assert f"mast_plugin/{name}" in names
    for name in ("embed_configs/embed.yaml", "embed_configs/export.yaml"):
        assert f"mast_plugin/{name}" in names
    assert "mast_plugin/report/template.html" in names


def test_wheel_brings_no_top_level_of_its_own_but_the_two(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "mast_plugin",
        "mast_plugin.pth",  # nothing that can be imported
        "hydra_plugins",
    }


@pytest.mark.parametrize("mode", ["compat", "lenient"])
def test_an_editable_installation_has_the_hook_too(mode, source, tmp_path):
    program = (
        "import sys; from setuptools import build_meta as b; b.build_editable(*eval(sys.argv[1]))"
    )
    arguments = repr((str(tmp_path), {"editable_mode": mode}))
    subprocess.run(
        [sys.executable, "-c", program, arguments], cwd=source, check=True, capture_output=True
    )
    (path,) = tmp_path.glob("*.whl")
    hook = zipfile.ZipFile(path).read("mast_plugin.pth")
    assert hook == (CHECKOUT / "mast_plugin.pth").read_bytes()
    # Python reads such files by their names: the packages must be found by then.
    assert any(name.endswith(".pth") and name < "mast" for name in zipfile.ZipFile(path).namelist())


def test_installed_wheel_works_without_the_source_tree(wheel, tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True)
    # -S leaves out the .pth file by which this checkout itself is on the path.
    installed = [each for each in sys.path if each.endswith("site-packages")]
    path = os.pathsep.join([str(target), *installed])
    command = [sys.executable, "-S", "-m", "mast_plugin.pretrain", "--config-name", "mast.yaml"]
    run = subprocess.run(
        [*command, "--cfg", "job"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0 and "method: mast" in run.stdout, run.stderr
    where = "import mast_plugin, sys; print(mast_plugin.__file__)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", where],
        cwd=tmp_path,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(str(target))
    for name in ("mast-pretrain", "mast-evaluate", "mast-compare", "mast-embed", "mast-export"):
        assert (target / "bin" / name).is_file()
    registers = f"import site; site.addsitedir({str(target)!r}); from solo.methods import METHODS"
    known = subprocess.run(
        [sys.executable, "-S", "-W", "ignore", "-c", f"{registers}; print(METHODS['mast'])"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "mast_plugin.method.MAST" in known.stdout, known.stderr
