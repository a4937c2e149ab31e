"""Runs a script of solo-learn's main branch in an environment where this checkout is installed.

``python host_script.py SCRIPT ARGUMENTS``: the checkout's .pth file is read as at an interpreter's
start, and what a script sends to a GPU stays on the CPU. Nothing else is changed.
"""

import runpy
import site
import sys
from pathlib import Path

site.addsitedir(str(Path(__file__).parents[2]))

import torch


def _staying(move):
    def moved(self, *args, **kwargs):
        return self if args and str(args[0]).startswith("cuda") else move(self, *args, **kwargs)

    return moved


torch.Tensor.cuda = lambda self, *args, **kwargs: self
torch.Tensor.to = _staying(torch.Tensor.to)
torch.nn.Module.to = _staying(torch.nn.Module.to)

sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
