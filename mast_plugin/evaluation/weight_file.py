"""Reading weights from a file that somebody else may have written, without running what is in it.

Checkpoints hold more than weights: optimisers, schedules, configurations. Schedules of both hosts
may hold functions, which is why a plain ``torch.load(weights_only=True)`` refuses some of their
files. Here such names are answered with inert stand-ins, so that nothing a file names is ever
looked up or called; a name from elsewhere than the usual libraries gets the whole file refused.
"""

import hashlib
import pickle
import re
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode
from torch import Tensor

from mast_plugin.errors import ConfigurationError

_STATE_KEYS = ("state_dict", "model")
_CONFIGURATION_KEYS = ("hyper_parameters", "cfg")
_STUBBED = re.compile(
    r"(functools|collections|pathlib|typing|numpy|omegaconf|torch|torchmetrics|torchvision|timm|"
    r"pl_bolts|solo|lightning|lightning_fabric|pytorch_lightning|mast_plugin)\."
    r"|builtins\.(dict|list|tuple|set|int|float|str|bool|object|getattr)$|__builtin__\.getattr$"
)
"""Names found in the hosts' own checkpoints beside weights; anything else is no checkpoint's."""


@dataclass(frozen=True)
class WeightFile:
    """What a file holds.

    Attributes:
        path: the file.
        sha256: of its bytes, hexadecimal.
        state: tensors by name.
        configuration: what the file says about how its network was made, or ``None``.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    configuration: dict[str, Any] | None


def read_weights(path: Path) -> WeightFile:
    """Read a Lightning checkpoint, a state dict (.pth, .pt) or a .safetensors file, on the CPU.

    Raises:
        ConfigurationError: no such file, or one that is truncated, holds no weights, or refers to
            code that no checkpoint needs.
    """
    if not path.is_file():
        raise ConfigurationError(f"the checkpoint {path} does not exist: give the path of a file")
    safe = path.suffix == ".safetensors"
    content: Any = _read_safetensors(path) if safe else _read_pickle(path)
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _STATE_KEYS if key in content), content)
    if not isinstance(state, Mapping):
        raise ConfigurationError(f"{path} holds {type(state).__name__}, not a network's weights")
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigurationError(
            f"{path} holds no weights: give a Lightning checkpoint or a network's state dict"
        )
    if all(name.startswith("module.") for name in tensors):  # saved from DataParallel
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return WeightFile(path, sha256_of(path), tensors, _configuration(content))


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes, hexadecimal, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigurationError(f"{path} needs safetensors: pip install safetensors") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _read_pickle(path: Path) -> Any:
    try:
        return _load(path)
    except pickle.UnpicklingError as error:
        reason: Exception = error
    except Exception as error:  # bytes of any kind are read as a pickle's instructions
        raise _unreadable(path, error) from error
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # whatever is wrong with the bytes, the sentence is the same
        raise _unreadable(path, reason) from error
    foreign = sorted(name for name in named if name not in _GENUINE and not _STUBBED.match(name))
    if foreign:
        raise ConfigurationError(
            f"{path} was not loaded: it refers to {', '.join(foreign[:3])}, which no network's "
            "weights need and which could run code; get the file from its author as a plain "
            "state dict or as .safetensors"
        )
    stand_ins: Any = [(_GENUINE.get(name, _Inert), name) for name in named]
    try:
        with torch.serialization.safe_globals(stand_ins):
            return _load(path)
    except Exception as error:
        raise _unreadable(path, error) from error


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a pickle protocol that is not torch's own
        return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    reason = reason.split(". ")[0][:120].rstrip(".")
    return ConfigurationError(
        f"{path} is truncated or is no checkpoint ({reason}): copy it again, or give a Lightning "
        "checkpoint, a .pth or .pt state dict, or a .safetensors file"
    )


class _Inert:
    """Stands for whatever a checkpoint holds beside weights; takes anything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "_Inert":
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


def _configuration(content: Any) -> dict[str, Any] | None:
    """The configuration inside a checkpoint; a ``cfg`` inside the hyper-parameters counts."""
    if not isinstance(content, Mapping):
        return None
    for key in _CONFIGURATION_KEYS:
        given = content.get(key)
        if isinstance(given, Mapping) and "cfg" in given:
            given = given["cfg"]
        if isinstance(given, Namespace):
            given = vars(given)
        if isinstance(given, DictConfig):
            given = OmegaConf.to_container(given)
        if isinstance(given, dict) and given:
            return {str(name): value for name, value in given.items()}
    return None
