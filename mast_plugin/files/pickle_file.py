"""Reading a pickle that somebody else may have written, without running what is in it.

Checkpoints hold more than weights: optimisers, schedules, configurations. Schedules of both hosts
may hold functions, which is why a plain ``torch.load(weights_only=True)`` refuses some of their
files. Here such names are answered with inert stand-ins, so that nothing a file names is ever
looked up or called; a name from elsewhere than the usual libraries gets the whole file refused.

``torch.save`` leaves a checksum beside every part of the archive that it writes, and ``torch.load``
does not look at them: here they are, so that no damaged weight is ever taken for a weight.
"""

import pickle
import re
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

from mast_plugin.errors import ConfigurationError

_STUBBED = re.compile(
    r"(functools|collections|pathlib|typing|numpy|omegaconf|torch|torchmetrics|torchvision|timm|"
    r"pl_bolts|solo|lightning|lightning_fabric|pytorch_lightning|mast_plugin)\."
    r"|builtins\.(dict|list|tuple|set|int|float|str|bool|object|getattr)$|__builtin__\.getattr$"
)
"""Names found in the hosts' own checkpoints beside weights; anything else is no checkpoint's."""


_ARCHIVE = b"PK\3\4"
"""How a file begins that torch takes for an archive; it reads others as a bare, older pickle."""
_FOLDER = 0x10
"""The attribute of a part for which torch's reader leaves the memory as it was."""
_CHUNK = 1 << 20


class Inert:
    """Stands for whatever a checkpoint holds beside weights; takes anything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "Inert":  # noqa: D102
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _plain_dict(*_: Any) -> dict[Any, Any]:
    return {}


# Containers of configurations: their unpickling sets attributes and does nothing else.
_GENUINE: Mapping[str, Any] = {
    "argparse.Namespace": Namespace,
    "collections.defaultdict": _plain_dict,
    "omegaconf.dictconfig.DictConfig": DictConfig,
    "omegaconf.listconfig.ListConfig": ListConfig,
    "omegaconf.base.ContainerMetadata": ContainerMetadata,
    "omegaconf.base.Metadata": Metadata,
    "omegaconf.nodes.AnyNode": AnyNode,
    "typing.Any": Any,
    **{f"builtins.{kind.__name__}": kind for kind in (dict, list, int, float, str, bool)},
}


def read_pickle(path: Path) -> Any:
    """Read what ``torch.save`` wrote, on the CPU; objects but tensors and plain values are inert.

    Args:
        path: a checkpoint or a state dict.

    Raises:
        ConfigurationError: no such file, or one that is truncated, does not match its checksums
            (see :func:`_verify`), inflates to more than its own size, or refers to code that no
            checkpoint needs; or a torch older than 2.6, whose ``weights_only`` could be tricked
            into running code (CVE-2025-32434).
    """
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise ConfigurationError(
            f"{path} was not loaded: torch {torch.__version__} cannot read a file without the risk "
            "of running what is in it: install torch 2.6 or later"
        )
    if not path.is_file():
        raise ConfigurationError(f"the checkpoint {path} does not exist: give the path of a file")
    _verify(path)
    try:
        return _load(path)
    except pickle.UnpicklingError as error:
        reason: Exception = error
    except Exception as error:  # bytes of any kind are read as a pickle's instructions
        raise unreadable(path, error) from error
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # whatever is wrong with the bytes, the sentence is the same
        raise unreadable(path, reason) from error
    foreign = sorted(name for name in named if name not in _GENUINE and not _STUBBED.match(name))
    if foreign:
        raise ConfigurationError(
            f"{path} was not loaded: it refers to {', '.join(foreign[:3])[:200]}, which no "
            "network's weights need and which could run code; get the file from its author as a "
            "plain state dict or as .safetensors"
        )
    stand_ins: Any = [(_GENUINE.get(name, Inert), name) for name in named]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return _load(path)
    except Exception as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ConfigurationError:
    """The sentence about a file that cannot be read, whatever kept it from being read."""
    return ConfigurationError(
        f"{path} is truncated or is no checkpoint ({_reason(error)}): copy it again, or give a "
        "Lightning checkpoint, a .pth or .pt state dict, or a .safetensors file"
    )


def damaged(path: Path, error: Exception) -> ConfigurationError:
    """The sentence about a file whose bytes are not those that were written."""
    return ConfigurationError(
        f"{path} is damaged ({_reason(error)}): copy it again from where it came from, or take "
        "another checkpoint"
    )


def _reason(error: Exception) -> str:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if not any(map(str.isalpha, reason)):  # a key that was looked up, and no sentence
        reason = type(error).__name__
    return reason.split(". ")[0][:120].rstrip(".")


def _verify(path: Path) -> None:
    """Compare every part of an archive with its CRC-32; 0.1 s for 147 MB in memory.

    Two kinds of files hold nothing to compare with and are read as they are: what a torch before
    1.6 wrote, or later ones with ``_use_new_zipfile_serialization=False``; and what was saved under
    ``torch.serialization.set_crc32_options(False)``, which leaves 0 for every checksum.

    Raises:
        ConfigurationError: the file is damaged, or its parts are larger than itself, whereas
            ``torch.save`` compresses nothing.
    """
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            return
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # the table of what it holds is cut off, or damaged itself
        raise unreadable(path, error) from error
    with archive:
        parts = archive.infolist()
        if any(part.filename.endswith("/constants.pkl") for part in parts):
            raise ConfigurationError(
                f"{path} was not loaded: it is a TorchScript program, which holds code; save the "
                "state_dict() of what torch.jit.load makes of it"
            )
        _refuse_inflating(path, sum(part.file_size for part in parts))
        if not any(part.CRC for part in parts):
            return
        try:
            for part in parts:
                _verify_part(archive, part)
        except Exception as error:  # a part may say anything of itself
            raise damaged(path, error) from error


def _verify_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    if part.is_dir() or part.external_attr & _FOLDER:
        raise zipfile.BadZipFile(f"{part.filename} says that it is a folder")
    with archive.open(part) as content:
        while content.read(_CHUNK):  # which compares the checksum at the end
            pass


def _refuse_inflating(path: Path, inflated: int) -> None:
    if inflated > path.stat().st_size:
        raise ConfigurationError(
            f"{path} was not loaded: it unpacks to {inflated:,} bytes, more than it holds, which "
            "no checkpoint does; get the file from its author again"
        )


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle protocol that is not torch's own
        return torch.load(path, map_location="cpu", weights_only=True)
