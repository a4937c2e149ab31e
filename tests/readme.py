"""README's own lines: the blocks of a section, and a run of its installation lines.

``python tests/readme.py --solo-learn PATH [--only mainline]`` makes a fresh environment for each
block of "How do I use it beside a solo-learn that I have?" (some 5 GB each, minutes), runs its
lines there as they stand, and looks for what README promises: that solo-learn then knows MAST, and
that pip complains of nothing but what solo-learn itself asks for.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
INSTALLATION = "How do I use it beside a solo-learn that I have?"
_PLACEHOLDER = "/path/to/this/checkout"
_KNOWN = "import solo.methods as m; assert m.METHODS['mast'].__module__ == 'mast_plugin.method'"


def blocks(heading: str | None = None) -> list[str]:
    """Shell blocks of README, or of one of its sections."""
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    if heading is not None:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```bash\n(.*?)```", text, re.DOTALL)


def install(lines: str, solo_learn: Path, place: Path) -> None:
    """Run installation lines in a fresh environment, from a copy of solo-learn's checkout.

    Raises:
        SystemExit: a line fails, MAST is not known, or pip complains of something else.
    """
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place / "venv")], check=True)
    shutil.copytree(solo_learn, place / "solo-learn")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "trained_models")
    shutil.copytree(CHECKOUT, place / "checkout", ignore=ignored)  # pip builds where it installs
    environment = {**os.environ, "PATH": f"{place / 'venv' / 'bin'}:{os.environ['PATH']}"}
    lines = lines.replace(_PLACEHOLDER, str(place / "checkout"))
    # From elsewhere, or Python would import the checkout itself.
    script = f"set -ex\n{lines}\ncd ..\npython -W ignore -c {_KNOWN!r}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=place / "solo-learn", env=environment, text=True,
        stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
    )  # fmt: skip
    print(done.stdout)
    complaints = re.findall(r"^(\S+) \S+ (?:requires .*|has requirement .*)$", done.stdout, re.M)
    if done.returncode or set(complaints) - {"solo-learn"}:
        raise SystemExit(f"README's lines failed with status {done.returncode}: {complaints}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--solo-learn", type=Path, required=True, help="checkout, main branch")
    parser.add_argument("--only", help="a word that the block must hold, such as mainline")
    options = parser.parse_args()
    for block in blocks(INSTALLATION):
        if "pip install" in block and (options.only or "") in block:
            with tempfile.TemporaryDirectory() as folder:
                install(block, options.solo_learn.absolute(), Path(folder))
