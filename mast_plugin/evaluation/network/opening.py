"""A pretrained network from a file: backbone, projector, masks, and the views that it was made for.

Any method's checkpoint of either solo-learn is taken, whichever of the two is installed, and so are
bare weights of a torchvision, timm or solo-learn network.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from mast_plugin.errors import ConfigurationError, HostError, MASTError
from mast_plugin.evaluation.network.architecture import (
    State,
    bare_network,
    host_backbone,
    load_exactly,
    misfit,
)
from mast_plugin.evaluation.network.plain import plain_backbone, plain_head
from mast_plugin.evaluation.network.recipe import complete, stored_configuration, view_plan
from mast_plugin.evaluation.network.weight_file import WeightFile, read_weights
from mast_plugin.host.memory import late
from mast_plugin.setting.backbone import stem_of_weights
from mast_plugin.setting.configuration import plain
from mast_plugin.views.plan import Plan

Statistics = tuple[float, float, float]

_BACKBONE = re.compile(r"^(momentum_)?(?:backbone|encoder)\.")
_MEND = "give config=PATH of the args.json of its own run, or backbone.name to load its backbone"


@dataclass(frozen=True)
class Network:
    """A network in evaluation mode, on the CPU; F features, D embedding dimensions, K types.

    Attributes:
        backbone: maps (N, 3, H, W) images to (N, F) features.
        projector: maps (N, F) features to (N, D) embeddings, unmasked and not normalised; ``None``
            for bare weights and for methods without a projector.
        masks: (K, D) in (0, 1]; ``None`` for any method but MAST.
        log_variance: maps the features (N, F) of two views to (N, K), see
            :meth:`~mast_plugin.core.head.SubspaceHead.log_variance`; ``None`` without uncertainty.
        cfg: the run's configuration in the main branch's language, or ``None``.
        method: solo-learn's name of the method, or ``None``.
        backbone_name: as solo-learn, torchvision or timm call it.
        sha256: of the file, hexadecimal.
        plan: the views that it was trained on; ``None`` where unknown.
        model: the method's whole Lightning module, or ``None``.
        dropped: names of weights in the file that were left out, such as a classifier's.
    """

    backbone: nn.Module
    backbone_name: str
    sha256: str
    projector: nn.Module | None = None
    masks: Tensor | None = None
    log_variance: Callable[[Tensor, Tensor], Tensor | None] | None = None
    cfg: dict[str, Any] | None = None
    method: str | None = None
    plan: Plan | None = None
    model: Any = None
    dropped: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...] | None:
        """Names of the augmentation types that it was trained on, for MAST one for each mask."""
        return None if self.plan is None else self.plan.types

    @property
    def crop_size(self) -> int | None:
        """Side of its views in pixels; ``None`` where unknown."""
        return None if self.plan is None else self.plan.crop_size

    @property
    def mean(self) -> Statistics | None:
        """Per channel (RGB), subtracted from values in [0, 1]; ``None`` where unknown."""
        return None if self.plan is None else self.plan.mean

    @property
    def std(self) -> Statistics | None:
        """Per channel (RGB), what the difference is divided by; ``None`` where unknown."""
        return None if self.plan is None else self.plan.std


def open_network(
    checkpoint: Path,
    *,
    backbone_name: str | None = None,
    backbone_kwargs: Mapping[str, Any] | None = None,
    config: Path | None = None,
    host: bool = True,
) -> Network:
    """Open a checkpoint; the global random state is left alone.

    Args:
        checkpoint: a Lightning checkpoint of any method of either solo-learn, or a bare state dict
            (.pth, .pt, .safetensors).
        backbone_name: which network to load bare weights into, as torchvision, timm or solo-learn
            call it; with a Lightning checkpoint, its backbone alone is loaded.
        backbone_kwargs: passed to the backbone's builder, with ``backbone_name`` only.
        config: the run's configuration (.json or .yaml); by default ``args.json`` beside the
            checkpoint, then what the checkpoint itself holds.
        host: build the whole method by solo-learn. Otherwise what torchvision and timm can build is
            had without it: the backbone and, of MAST, the head; ``model`` is then ``None``.

    Raises:
        ConfigurationError: the file cannot be read, is no checkpoint, does not say which network it
            holds, or does not fit it; nothing is ever loaded half.
    """
    checkpoint = Path(checkpoint)
    if backbone_kwargs and backbone_name is None:
        raise ConfigurationError("backbone.kwargs go with backbone.name: give both")
    weights = read_weights(checkpoint)
    inside = {key: value for key, value in weights.state.items() if _BACKBONE.match(key)}
    stored = stored_configuration(checkpoint, weights.configuration, config)
    cfg = None if stored is None else complete(stored, _num_classes(weights.state))
    if cfg is not None:  # whichever script chose it, by whatever rule
        cfg.backbone.stem = stem_of_weights(bare_backbone(inside)) or cfg.backbone.stem
    if backbone_name is not None:
        state = bare_backbone(weights.state) if inside else weights.state
        name, kwargs = backbone_name, dict(backbone_kwargs or {})
        return _of_backbone(weights, state, name, kwargs, stored, cfg)
    if stored is None or cfg is None:
        raise ConfigurationError(
            f"{checkpoint} does not say which network it holds and no args.json is beside it: "
            "give backbone.name=resnet18 (or another), or config=PATH of the run's args.json"
        )
    if not inside:
        name, kwargs = str(cfg.backbone.name), dict(cfg.backbone.kwargs)
        return _of_backbone(weights, weights.state, name, kwargs, stored, cfg)
    with torch.random.fork_rng(devices=[]):
        network = None if host else _without_host(weights, stored, cfg)
        return network or _of_method(weights, stored, cfg)


def _without_host(weights: WeightFile, stored: dict[str, Any], cfg: DictConfig) -> Network | None:
    """Backbone and, of MAST, the head; ``None`` where it takes the host to build them."""
    with _clear_failure(weights.path):
        name, kwargs, stem = cfg.backbone.name, plain(cfg.backbone.kwargs), cfg.backbone.stem
        backbone = plain_backbone(name, kwargs, stem, cfg.method)
    state = bare_backbone(weights.state)
    if backbone is None or misfit(backbone, state):
        return None
    backbone.load_state_dict(state, strict=True)
    known: dict[str, Any] = {}
    if cfg.method == "mast":
        head, plan = plain_head(weights.state), _plan(cfg)
        if head is None or plan is None or len(plan.types) != len(head.masks):
            return None
        known = {"projector": head, "masks": head.masks.detach()}
        known["log_variance"] = None if head.uncertainty is None else head.log_variance
    dropped = () if known else tuple(key for key in weights.state if not _is_backbone(key))
    return _network(weights, backbone, stored, cfg, dropped=dropped, **known)


def _of_method(weights: WeightFile, stored: dict[str, Any], cfg: DictConfig) -> Network:
    """Build the method around the weights; a method that this host lacks gives its backbone."""
    from mast_plugin.host import load_host
    from mast_plugin.registration import register

    register()
    host = load_host()
    if cfg.method not in host.METHODS or cfg.method in ("base", "linear"):
        state = bare_backbone(weights.state)
        with _clear_failure(weights.path):
            backbone = host_backbone(cfg.backbone.name, cfg.backbone.kwargs, cfg.backbone.stem)
        load_exactly(backbone, state, f"the backbone in {weights.path}", _MEND)
        dropped = tuple(key for key in weights.state if not _is_backbone(key))
        return _network(weights, backbone, stored, cfg, dropped=dropped)
    if cfg.method != "mast":
        options = host.method_options(cfg.method)
        cfg.method_kwargs = {k: v for k, v in cfg.method_kwargs.items() if k in options}
    with _clear_failure(weights.path):
        model = host.build(cfg.copy())  # the main branch adds to what it is given
    backbone = host.backbone(model)
    state = _as_named_by(model, weights.state)
    memories = late(model, state)  # of training, not of the network
    state = {name: value for name, value in state.items() if name not in memories}
    load_exactly(model, state, f"{weights.path} ({cfg.method})", _MEND)
    model.eval()
    if cfg.method != "mast":
        projector = getattr(model, "projector", None)
        known = {"model": model, "projector": projector, "dropped": memories}
        return _network(weights, backbone, stored, cfg, **known)
    head = model.head
    return _network(
        weights,
        backbone,
        stored,
        cfg,
        model=model,
        projector=head,
        masks=head.masks.detach(),
        log_variance=None if head.uncertainty is None else head.log_variance,
    )


def _of_backbone(
    weights: WeightFile,
    state: State,
    name: str,
    kwargs: Mapping[str, Any],
    stored: dict[str, Any] | None,
    cfg: DictConfig | None,
) -> Network:
    backbone, dropped = bare_network(name, kwargs, state, str(weights.path))
    if len(state) < len(weights.state):
        dropped += tuple(key for key in weights.state if not _is_backbone(key))
    return _network(weights, backbone, stored, cfg, dropped=dropped, backbone_name=name)


def _network(
    weights: WeightFile,
    backbone: nn.Module,
    stored: dict[str, Any] | None,
    cfg: DictConfig | None,
    **known: Any,
) -> Network:
    if cfg is not None:
        known = {"backbone_name": str(cfg.backbone.name), **known}
    return Network(
        backbone=backbone.eval(),
        cfg=stored,
        method=None if stored is None else stored.get("method"),
        sha256=weights.sha256,
        plan=_plan(cfg),
        **known,
    )


def _plan(cfg: DictConfig | None) -> Plan | None:
    """The views' plan, or ``None``: a foreign run's views may be of types that we do not have."""
    try:
        return None if cfg is None else view_plan(cfg)
    except (MASTError, OmegaConfBaseException):
        return None


@contextmanager
def _clear_failure(path: Path) -> Iterator[None]:
    """Turn whatever a host raises at a foreign configuration into one sentence."""
    try:
        yield
    except HostError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(
            f"the network of {path} cannot be built from its configuration ({reason}): {_MEND}"
        ) from error


def _is_backbone(key: str) -> bool:
    match = _BACKBONE.match(key)
    return match is not None and match.group(1) is None


def bare_backbone(state: State) -> dict[str, Tensor]:
    """The backbone's weights of a method's checkpoint, by their names in the bare network."""
    return {_BACKBONE.sub("", key): value for key, value in state.items() if _is_backbone(key)}


def _as_named_by(model: nn.Module, state: State) -> dict[str, Tensor]:
    """Rename the backbone's weights: one host calls it ``backbone``, the other ``encoder``."""
    ours = "encoder" if hasattr(model, "encoder") else "backbone"
    return {
        _BACKBONE.sub(lambda match: f"{match.group(1) or ''}{ours}.", key): value
        for key, value in state.items()
    }


def _num_classes(state: State) -> int:
    """Rows of the online classifier, which is loaded with the rest and then not used."""
    weight = state.get("classifier.weight")
    return 1 if weight is None or weight.ndim != 2 else len(weight)
