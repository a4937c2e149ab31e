"""A network's weights, and what their file says about it, read without running what is in it."""

import hashlib
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.document import first_line, refuse_boundless
from mast_plugin.files.pickle_file import Inert, read_pickle
from mast_plugin.files.tensor_file import read_tensors

_STATE_KEYS = ("state_dict", "model")
_CONFIGURATION_KEYS = ("hyper_parameters", "cfg")


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
        ConfigurationError: no such file, or one that is truncated, does not match its checksums,
            holds no weights, refers to code that no checkpoint needs, or holds a configuration
            without bounds.
    """
    if path.is_dir():
        raise ConfigurationError(
            f"the checkpoint {path} is a folder: give the path of a file in it"
        )
    if not path.is_file():
        raise ConfigurationError(f"the checkpoint {path} does not exist: give the path of a file")
    safe = path.suffix == ".safetensors"
    content: Any = read_tensors(path) if safe else read_pickle(path)
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _STATE_KEYS if key in content), content)
    if not isinstance(state, Mapping):
        kind = "an object" if isinstance(state, Inert) else type(state).__name__
        raise ConfigurationError(
            f"{path} holds {kind}, not a network's weights: save its state_dict() instead"
        )
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise ConfigurationError(
            f"{path} holds no weights: give a Lightning checkpoint or a network's state dict"
        )
    if all(name.startswith("module.") for name in tensors):  # saved from DataParallel
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return WeightFile(path, sha256_of(path), tensors, _configuration(path, content))


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes, hexadecimal, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _configuration(path: Path, content: Any) -> dict[str, Any] | None:
    """The configuration inside a checkpoint; a ``cfg`` inside the hyper-parameters counts."""
    if not isinstance(content, Mapping):
        return None
    for key in _CONFIGURATION_KEYS:
        try:
            found = _plain(content.get(key))
        except Exception as error:  # its objects' insides are whatever the file says
            raise ConfigurationError(
                f"{path} holds a configuration ({key}) that cannot be read: {first_line(error)}; "
                "give its weights alone, as a state dict"
            ) from error
        if found:
            return found
    return None


def _plain(given: Any) -> dict[str, Any] | None:
    if isinstance(given, Mapping) and "cfg" in given:
        given = given["cfg"]
    if isinstance(given, Namespace):
        given = vars(given)
    refuse_boundless(given)
    if isinstance(given, DictConfig):
        given = OmegaConf.to_container(given)
    return {str(name): given[name] for name in given} if isinstance(given, dict) else None
