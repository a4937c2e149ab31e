"""Which solo-learn is installed, and the module that speaks to it."""

import importlib
import importlib.util
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, cast

from mast_plugin.errors import HostError
from mast_plugin.host.face import Host
from mast_plugin.host.quiet import quiet_host

HostKind = Literal["release", "mainline"]

_INSTALL = "pip install --no-deps solo-learn==1.0.2 and pip install 'mast-plugin[release]'"

# Where each host keeps its pretraining loader tells them apart: the main branch's version number
# has moved without its layout, and a checkout that is merely on the path has no metadata at all.
_LANDMARK: dict[HostKind, str] = {
    "release": "utils/pretrain_dataloader.py",
    "mainline": "data/pretrain_dataloader.py",
}


def host_kind() -> HostKind:
    """Tell which solo-learn is installed, without importing it.

    Raises:
        HostError: when none is, or one of an unknown layout.
    """
    spec = importlib.util.find_spec("solo")
    if spec is None or not spec.submodule_search_locations:
        raise HostError(f"solo-learn is not installed: {_INSTALL}, or install its main branch")
    for kind, landmark in _LANDMARK.items():
        if any((Path(root) / landmark).is_file() for root in spec.submodule_search_locations):
            return kind
    raise HostError(
        f"solo-learn {_version()} is of a layout that this plugin does not know (release 1.0.2 and "
        f"the main branch, 1.0.6, are): {_INSTALL}"
    )


def _version() -> str:
    try:
        return metadata.version("solo-learn")
    except metadata.PackageNotFoundError:
        return "(no version)"


@cache
def load_host() -> Host:
    """Import the installed solo-learn behind the one face.

    Raises:
        HostError: when solo-learn, or a package that it needs, is missing.
    """
    kind = host_kind()
    try:
        with quiet_host():
            importlib.import_module("solo.methods")  # first, for the hook that waits for it
            module = importlib.import_module(f"mast_plugin.host.{kind}")
    except ImportError as error:
        raise HostError(
            f"solo-learn's {kind} host cannot be imported ({error}): "
            f"pip install 'mast-plugin[{kind}]' brings what it needs"
        ) from error
    return cast(Host, module)
