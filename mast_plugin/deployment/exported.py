"""A checkpoint to files of other programs, which get their names when their features agree."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mast_plugin.deployment.onnx_graph import Fixed, onnx_features, require_onnx, write_onnx
from mast_plugin.deployment.opening import load_model, made_as_of
from mast_plugin.deployment.representation import load_representation, with_representation
from mast_plugin.deployment.subspace import BackboneName, metadata
from mast_plugin.deployment.target import timm_name, timm_target, torchvision_target
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.files.storage import full_disk_explained
from mast_plugin.files.tensor_file import write_tensors
from mast_plugin.setting.configuration import evaluation_options

TOLERANCE = 1e-5
"""How far features may differ, as a share of the largest; in float32, on the CPU."""
_DEFAULTS = {
    "torchvision": "backbone.pth",
    "timm": "timm",
    "safetensors": "model.safetensors",
    "onnx": "model.onnx",
}
_TIMM_FILES = ("config.json", "model.safetensors")


@dataclass(frozen=True)
class Exported:
    """What an export ends with.

    Attributes:
        output: file or folder.
        difference: largest, of the features, as a share of the largest feature.
        usage: lines of Python that load it.
    """

    output: Path
    difference: float
    usage: str

    def __str__(self) -> str:
        """Where it is, how exact, and how it is loaded."""
        return (
            f"{self.output} is written; its features differ by {self.difference:.0e} of the "
            f"largest at most. To load it:\n\n{self.usage}"
        )


@dataclass(frozen=True)
class _Network:
    """What is exported: the module, its transform, and how its backbone is built."""

    model: nn.Module
    transform: ImageTransform
    chosen: Mapping[str, Any]
    made_as: BackboneName

    def features(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = self.model(images, **self.chosen).flatten(1)
        return found


def export(cfg: DictConfig) -> Exported:
    """Export a network as a configuration says.

    Args:
        cfg: the keys of ``scripts/embed/export.yaml``; it is left as it is.

    Raises:
        ConfigurationError: the format cannot hold the network, an output is there, a package is
            missing, or the features do not agree.
    """
    options = checked(cfg)
    output = Path(options["output"])
    network = _opened(options)
    part = output.with_name(f".{output.name}.part{output.suffix}")
    output.parent.mkdir(parents=True, exist_ok=True)
    _remove(part)
    try:
        with full_disk_explained(output.parent):
            found, usage = _WRITERS[options["format"]](network, part, output)
            difference = _difference(network, found)
            if output.is_dir():
                shutil.rmtree(output)
            part.replace(output)
    finally:
        _remove(part)
    return Exported(output, difference, usage)


def checked(cfg: DictConfig) -> dict[str, Any]:
    """Every option, refused where it is unknown, or where two contradict each other."""
    options = with_representation(evaluation_options(cfg, "export"))
    kind = options["format"]
    if kind != "onnx" and options["representation"] != "backbone":
        raise ConfigurationError(
            f"format={kind} holds no {options['representation']} alone: choose format=onnx, or "
            "safetensors without a representation, which holds all of them"
        )
    if kind == "onnx":
        require_onnx()
    options["output"] = options["output"] or _DEFAULTS[kind]
    output = Path(options["output"])
    is_ours = not output.is_dir() or (kind == "timm" and _holds_nothing_else(output))
    if output.exists() and not (options["overwrite"] and is_ours):
        mend = "overwrite=true to replace it, or " if is_ours else ""
        raise ConfigurationError(f"{output} is there already: give {mend}another output")
    return options


def _holds_nothing_else(folder: Path) -> bool:
    """Whether a folder can be replaced: only what an export for timm writes is in it."""
    return {each.name for each in folder.iterdir()} <= set(_TIMM_FILES)


def _opened(options: dict[str, Any]) -> _Network:
    path = Path(options["checkpoint"])
    if options["format"] == "safetensors":
        model, transform = load_model(path, config=options["config"])
        assert model.made_as is not None
        return _Network(model, transform, {}, model.made_as)
    module, transform, chosen = load_representation(options)
    if metadata(path) is not None:
        made_as = load_model(path)[0].made_as
        assert made_as is not None
        return _Network(module, transform, chosen, made_as)
    bare = options["backbone"]
    config = options["config"] and Path(options["config"])
    given = {"backbone_name": bare["name"], "backbone_kwargs": bare["kwargs"], "config": config}
    network = open_network(path, **given, host=False)
    made_as = made_as_of(network)
    if bare["name"] is not None:
        made_as = BackboneName(bare["name"], bare["kwargs"], made_as.stem)
    return _Network(module, transform, chosen, made_as)


Features = Callable[[Tensor], Tensor]


def _write_torchvision(network: _Network, part: Path, output: Path) -> tuple[Features, str]:
    state = {k: v.contiguous() for k, v in network.model.state_dict().items()}
    torchvision_target(network.made_as, network.model)  # refused before anything is written
    if output.suffix == ".safetensors":
        write_tensors(part, state)
        load = f"safetensors.torch.load_file({str(output)!r})"
    else:
        torch.save(state, part)
        load = f"torch.load({str(output)!r}, weights_only=True)"
    from mast_plugin.evaluation.network.weight_file import read_weights

    again = torchvision_target(network.made_as, _Bare(read_weights(part).state))
    arguments = "".join(f", {key}={value!r}" for key, value in network.made_as.kwargs.items())
    usage = (
        f"network = torchvision.models.get_model({network.made_as.name!r}{arguments})\n"
        f"network.{_classifier(network.made_as)} = torch.nn.Identity()\n"
        f"network.load_state_dict({load}, strict=True)"
    )
    return again, usage


def _classifier(made_as: BackboneName) -> str:
    from mast_plugin.evaluation.network.architecture import torchvision_network

    with torch.random.fork_rng(devices=[]):
        return torchvision_network(made_as.name, made_as.kwargs)[1][0]


class _Bare(nn.Module):
    """A state dict in the place of a module."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._state = dict(state)

    def state_dict(self, *_: Any, **__: Any) -> Any:
        """The weights as they were read."""
        return self._state


def _write_timm(network: _Network, part: Path, output: Path) -> tuple[Features, str]:
    made_as, transform = network.made_as, network.transform
    timm_target(made_as, network.model)  # refused before anything is written
    part.mkdir()
    write_tensors(part / "model.safetensors", network.model.state_dict())
    size = transform.size
    view = {
        "input_size": [3, size, size],
        "mean": list(transform.mean),
        "std": list(transform.std),
        "interpolation": transform.interpolation,
        "crop_pct": 1.0,
        "crop_mode": "center",
        "num_classes": 0,
    }
    noted = {
        "architecture": timm_name(made_as),
        "num_classes": 0,
        "model_args": made_as.kwargs,
        "pretrained_cfg": view,
    }
    (part / "config.json").write_text(json.dumps(noted, indent=2), encoding="utf-8")
    import timm

    again: nn.Module = timm.create_model(f"local-dir:{part}", pretrained=True).eval()
    usage = f"network = timm.create_model({f'local-dir:{output}'!r}, pretrained=True).eval()"
    return again, usage


def _write_safetensors(network: _Network, part: Path, output: Path) -> tuple[Features, str]:
    network.model.save(part, network.transform)  # type: ignore[operator]
    usage = f"model, transform = mast_plugin.load_model({str(output)!r})"
    return load_model(part)[0], usage


def _write_onnx(network: _Network, part: Path, output: Path) -> tuple[Features, str]:
    write_onnx(Fixed(network.model, network.chosen), network.transform, part)
    usage = (
        f"session = onnxruntime.InferenceSession({str(output)!r})\n"
        'features = session.run(None, {"images": images})[0]  # float32 (N, 3, H, W) of numpy'
    )
    return onnx_features(part), usage


_WRITERS: Mapping[str, Callable[[_Network, Path, Path], tuple[Features, str]]] = {
    "torchvision": _write_torchvision,
    "timm": _write_timm,
    "safetensors": _write_safetensors,
    "onnx": _write_onnx,
}


def _difference(network: _Network, again: Features) -> float:
    """Compare features of two batches of unlike sizes.

    Raises:
        ConfigurationError: they differ by more than ``TOLERANCE``.
    """
    size, largest = network.transform.size, 0.0
    generator = torch.Generator().manual_seed(0)
    for count in (1, 3):
        images = torch.randn(count, 3, size, size, generator=generator)
        expected = network.features(images)
        with torch.inference_mode():
            found = again(images).flatten(1)
        scale = expected.abs().max().clamp(min=1e-30)
        largest = max(largest, float((found - expected).abs().max() / scale))
    if not largest <= TOLERANCE:
        raise ConfigurationError(
            f"the export's features differ by {largest:.0e} of the largest, more than "
            f"{TOLERANCE:.0e}: nothing is written; choose another format"
        )
    return largest


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)
    part.unlink(missing_ok=True)
