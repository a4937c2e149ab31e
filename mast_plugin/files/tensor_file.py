"""Tensors as .safetensors, with a digest of our own: the format itself has no checksums."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.files.pickle_file import damaged, unreadable
from mast_plugin.files.storage import whole_file

DIGEST = "mast_plugin.sha256"
"""The key of the digest among a file's metadata."""


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file that any reader of the format takes, and :func:`read_tensors` verifies.

    Args:
        path: the file, replaced when the new one is whole.
        tensors: by name; those that share memory are written once each.
        metadata: text by name.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors.torch import save

    own = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    noted = dict(metadata or {})
    content = save(own, {**noted, DIGEST: _digest(own, noted)})
    with whole_file(path) as file:
        file.write(content)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file on the CPU, and compare it with its digest where it has one.

    A file that somebody else wrote has none and is taken as it is.

    Raises:
        ConfigurationError: it cannot be read, or does not match its digest.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ConfigurationError(f"{path} needs safetensors: pip install safetensors") from error
    try:
        with safe_open(path, framework="pt") as file:
            noted = dict(file.metadata() or {})
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # a header of any kind is taken at its word until it misfits
        raise unreadable(path, error) from error
    expected = noted.pop(DIGEST, None)
    if expected is not None and expected != _digest(tensors, noted):
        raise damaged(path, ValueError("it does not match its digest"))
    return tensors


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Digest of all that a file says: names, kinds, shapes, values and metadata, hexadecimal."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
