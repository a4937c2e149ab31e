"""``init_from``: a backbone that starts from weights that exist, all of them or none."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.architecture import load_exactly
from mast_plugin.evaluation.network.opening import bare_backbone
from mast_plugin.evaluation.network.weight_file import WeightFile, read_weights
from mast_plugin.setting.backbone import stem_of_weights

_CLASSIFIERS = ("fc.", "head.", "classifier.")
_MEND = (
    "give the backbone (backbone.name, .kwargs, .stem, and crop_size) that the file was made with"
)


def with_start(cfg: DictConfig) -> DictConfig:
    """Return a copy that holds the file's digest, and its stem where ``backbone.stem`` is auto.

    Args:
        cfg: resolved configuration.

    Raises:
        ConfigurationError: ``init_from`` cannot be read.
    """
    copy = cfg.copy()
    copy.init_from_sha256 = None
    if cfg.init_from is not None:
        weights = _read(cfg.init_from)
        copy.init_from_sha256 = weights.sha256
        if cfg.backbone.stem == "auto":
            copy.backbone.stem = stem_of_weights(_named_bare(weights)) or "auto"
    return copy


def start(cfg: DictConfig, networks: list[nn.Module]) -> str:
    """Load ``init_from`` into backbones, after comparing every name and shape.

    The counters of batch normalisation, which are no weights and which old files lack, are left at
    zero where they are missing.

    Args:
        cfg: as :func:`with_start` returns it.
        networks: of one architecture: the backbone and its momentum copy.

    Returns:
        A line that says what was loaded and what of the file was left out.

    Raises:
        ConfigurationError: the file has changed, does not hold exactly this backbone, or holds
            numbers that are not finite.
    """
    weights = _read(cfg.init_from)
    if weights.sha256 != cfg.init_from_sha256:
        raise ConfigurationError(f"init_from={cfg.init_from} has changed since the run was planned")
    state = _named_bare(weights)
    own = networks[0].state_dict()
    spare = [name for name in state if name not in own and name.startswith(_CLASSIFIERS)]
    kept = {name: value for name, value in state.items() if name not in spare}
    for name, value in own.items():
        if name.endswith(".num_batches_tracked"):
            kept.setdefault(name, value)
    if spoilt := [name for name, value in kept.items() if not value.isfinite().all()]:
        raise ConfigurationError(
            f"init_from={cfg.init_from} holds numbers that are not finite, in {spoilt[0]}: "
            "give weights whose training did not diverge"
        )
    for network in networks:
        load_exactly(network, kept, f"init_from={cfg.init_from}", _MEND)
    left = [*sorted(spare), *_others(weights, state)]
    said = f"; left out: {', '.join(left[:4])}" + (" ..." if len(left) > 4 else "") if left else ""
    return (
        f"The backbone starts from {cfg.init_from} (sha256 {weights.sha256[:12]}, "
        f"{len(kept)} tensors{said})"
    )


def _read(path: str) -> WeightFile:
    try:
        return read_weights(Path(path))
    except ConfigurationError as error:
        raise ConfigurationError(f"init_from cannot be used: {error}") from error


def _named_bare(weights: WeightFile) -> dict[str, Tensor]:
    """The backbone's tensors of a method's checkpoint; all of a bare state dict's."""
    return bare_backbone(weights.state) or weights.state


def _others(weights: WeightFile, state: dict[str, Tensor]) -> list[str]:
    """What a method's checkpoint holds beside its backbone, by part."""
    if state is weights.state:
        return []
    inside = {id(value) for value in state.values()}
    parts: dict[str, Any] = {
        name.split(".")[0]: None for name, value in weights.state.items() if id(value) not in inside
    }
    return list(parts)
