"""Networks by name, for weights that come without a configuration."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mast_plugin.errors import ConfigurationError, HostError
from mast_plugin.evaluation.network.plain import set_cifar_stem
from mast_plugin.files.document import first_line

State = Mapping[str, Tensor]


def load_exactly(network: nn.Module, state: State, what: str, mend: str) -> None:
    """Load weights after comparing every name and shape, so that nothing is ever loaded half.

    Args:
        network: filled in place.
        state: weights, as the network names them.
        what: the file, as the sentence calls it.
        mend: what the user can do about a misfit.

    Raises:
        ConfigurationError: up to five names each of what is missing, unexpected or misshapen.
    """
    if sentence := misfit(network, state):
        raise ConfigurationError(f"{what} does not fit: {sentence}; {mend}")
    network.load_state_dict(dict(state), strict=True)


def misfit(network: nn.Module, state: State) -> str:
    """Say what keeps weights from fitting a network; nothing where they fit."""
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    kinds = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "misshapen": [
            f"{name} ({_shape(state[name].shape)}, not {_shape(shape)})"
            for name, shape in wanted.items()
            if name in state and state[name].shape != shape
        ],
    }
    return ", ".join(f"{kind} {_some(names)}" for kind, names in kinds.items() if names)


def bare_network(
    name: str, kwargs: Mapping[str, Any], state: State, what: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """Build a network by name, without its classifier, and load a bare state dict into it.

    torchvision, timm and solo-learn are asked in this order; the first whose network takes the
    weights is taken. A ResNet with a 3 x 3 stem (seen from the weights' shape) gets solo-learn's
    CIFAR stem: stride 1, padding 2, no pooling.

    Args:
        name: as torchvision, timm or solo-learn's ``backbone.name`` call it.
        kwargs: passed to the builder.
        state: weights; those of a classifier are left out.
        what: the file, as the sentences call it.

    Returns:
        The network, images to features, and the names of the weights left out.

    Raises:
        ConfigurationError: nobody knows the name, or the weights fit none of the networks.
    """
    sentences = []
    for library, build in _builders(name, kwargs):
        with torch.random.fork_rng(devices=[]):  # the first weights are thrown away
            try:
                network, classifiers = build()
            except Exception as error:  # whatever a builder makes of options that it never checks
                sentences.append(f"{library}'s {name} cannot be built ({first_line(error)})")
                continue
        adapt_stem(network, state)
        dropped = tuple(
            key for key in state if any(key.startswith(f"{prefix}.") for prefix in classifiers)
        )
        kept = {key: value for key, value in state.items() if key not in dropped}
        if sentence := misfit(network, kept):
            sentences.append(f"{library}'s {name} does not take it: {sentence}")
            continue
        network.load_state_dict(kept, strict=True)
        return network, dropped
    if not sentences:
        raise ConfigurationError(
            f"backbone.name is {name!r}, which torchvision, timm and solo-learn do not know"
        )
    raise ConfigurationError(
        f"{what} does not fit: {sentences[0]}; give the backbone.name and backbone.kwargs that it "
        "was trained with"
    )


def adapt_stem(network: nn.Module, state: State) -> None:
    """Give a ResNet the hosts' CIFAR stem where the weights have one."""
    stem, weight = getattr(network, "conv1", None), state.get("conv1.weight")
    if not isinstance(stem, nn.Conv2d) or weight is None or weight.ndim != 4:
        return
    if tuple(weight.shape[2:]) == (3, 3) and stem.kernel_size == (7, 7):
        set_cifar_stem(network, weight.shape[0], weight.shape[1])


Built = tuple[nn.Module, tuple[str, ...]]


def _builders(name: str, kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Built]]]:
    from torchvision import models

    if name in models.list_models():
        yield "torchvision", lambda: torchvision_network(name, kwargs)
    if importlib.util.find_spec("timm"):
        import timm

        if timm.is_model(name):
            yield "timm", lambda: _timm(name, kwargs)
    if _host_knows(name):
        yield "solo-learn", lambda: (host_backbone(name, kwargs), ("fc", "head"))


def torchvision_network(name: str, kwargs: Mapping[str, Any]) -> Built:
    """A network of torchvision without its classifier, and where that was."""
    from torchvision import models

    network: nn.Module = models.get_model(name, weights=None, **kwargs)
    last = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, leaf = last.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network, (last,)


def _timm(name: str, kwargs: Mapping[str, Any]) -> Built:
    import timm

    network: Any = timm.create_model(name, pretrained=False, **{"num_classes": 0, **kwargs})
    classifier = network.default_cfg.get("classifier") or "fc"
    return network, (classifier,) if isinstance(classifier, str) else tuple(classifier)


def _host_knows(name: str) -> bool:
    from mast_plugin.host import load_host

    try:
        return name in host_names(load_host())
    except HostError:
        return False


def host_names(host: Any) -> tuple[str, ...]:
    """The backbones that a solo-learn knows, in its own order."""
    tables = (getattr(host.Method, table, ()) for table in ("_BACKBONES", "_SUPPORTED_ENCODERS"))
    return tuple(name for table in tables for name in table)


def host_backbone(name: str, kwargs: Mapping[str, Any], stem: str = "imagenet") -> nn.Module:
    """Build a backbone as the installed solo-learn does, by building our method around it.

    Args:
        name: ``backbone.name``.
        kwargs: ``backbone.kwargs``.
        stem: of a ResNet, ``cifar`` or ``imagenet``.

    Raises:
        HostError: no solo-learn is installed.
    """
    from mast_plugin.evaluation.network.recipe import complete
    from mast_plugin.host import load_host
    from mast_plugin.registration import register

    register()
    host = load_host()
    configuration = {
        "method": "mast",
        "method_kwargs": {"proj_hidden_dim": 1, "proj_output_dim": 1},
        "backbone": {"name": name, "kwargs": dict(kwargs), "stem": stem},
        "data": {"dataset": "custom"},
        "augmentations": [{"crop_size": 32, "num_crops": 2, "crop": {}}],
    }
    return host.backbone(host.build(complete(configuration, num_classes=1)))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "scalar"
