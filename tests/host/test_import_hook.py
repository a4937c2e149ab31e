"""mast_plugin.pth, as an interpreter reads it at its start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CHECKOUT = Path(__file__).parents[2]
START = f"import site, sys; site.addsitedir({str(CHECKOUT)!r})\n"


def run(program: str, *path: Path) -> subprocess.CompletedProcess[str]:
    places = [str(each) for each in (*path, CHECKOUT)]
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
    )


def test_a_program_that_imports_solo_learns_methods_finds_mast_among_them():
    done = run(
        "assert not any(name.startswith('mast_plugin') for name in sys.modules)\n"
        "from solo.methods import METHODS\n"
        "print(METHODS['mast'].__module__)"
    )
    assert done.stdout.strip() == "mast_plugin.method", done.stderr


def test_mast_is_registered_by_whatever_of_ours_imports_the_host():
    done = run(
        "import mast_plugin.method\nfrom solo.methods import METHODS\nprint('mast' in METHODS)"
    )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_what_keeps_mast_away_keeps_nothing_else_away(tmp_path):
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").touch()
    (tmp_path / "solo" / "methods.py").write_text("METHODS = {'vicreg': 1}\n")
    program = "from solo.methods import METHODS; print(sorted(METHODS))"
    done = run(program, tmp_path)
    assert done.stdout.strip() == "['vicreg']"
    assert "will not know the method mast: solo-learn" in done.stderr
    gone = run("sys.modules['mast_plugin'] = None\n" + program, tmp_path)
    assert (gone.stdout.strip(), gone.stderr) == ("['vicreg']", "")
