"""torchvision's and timm's own networks, into which a backbone's weights load strictly."""

from typing import Any

from torch import nn

from mast_plugin.deployment.subspace import BackboneName
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.architecture import misfit, torchvision_network
from mast_plugin.evaluation.network.plain import OF_TIMM
from mast_plugin.files.document import first_line

_ELSE = "choose format=safetensors or onnx"


def torchvision_target(made_as: BackboneName, backbone: nn.Module) -> nn.Module:
    """Torchvision's network of the same name, without its classifier, with a backbone's weights.

    Raises:
        ConfigurationError: torchvision has no such network, or another one under the name.
    """
    from torchvision import models

    if made_as.name not in models.list_models():
        raise ConfigurationError(f"torchvision has no network {made_as.name}: {_ELSE}, or timm")
    _refuse_cifar_stem(made_as, "torchvision")
    return _loaded(lambda: torchvision_network(made_as.name, made_as.kwargs)[0], backbone, made_as)


def timm_name(made_as: BackboneName) -> str:
    """Timm's name of the network.

    Raises:
        ConfigurationError: timm is missing, or has no such network.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigurationError(f"format=timm needs timm: pip install timm, or {_ELSE}") from error
    name = OF_TIMM.get(made_as.name, made_as.name)
    if not timm.is_model(name):
        raise ConfigurationError(f"timm has no network {made_as.name}: {_ELSE}")
    _refuse_cifar_stem(made_as, "timm")
    return name


def timm_target(made_as: BackboneName, backbone: nn.Module) -> nn.Module:
    """Timm's network, without its classifier, with a backbone's weights.

    Raises:
        ConfigurationError: as :func:`timm_name`, or it is another network.
    """
    name = timm_name(made_as)
    import timm

    def build() -> Any:
        return timm.create_model(name, pretrained=False, **{"num_classes": 0, **made_as.kwargs})

    return _loaded(build, backbone, made_as)


def _refuse_cifar_stem(made_as: BackboneName, library: str) -> None:
    if made_as.stem == "cifar":
        raise ConfigurationError(
            f"the backbone has the CIFAR stem, with which {library} builds no {made_as.name}: "
            f"{_ELSE}"
        )


def _loaded(build: Any, backbone: nn.Module, made_as: BackboneName) -> nn.Module:
    import torch

    with torch.random.fork_rng(devices=[]):  # the first weights are thrown away
        try:
            network: nn.Module = build()
        except Exception as error:  # whatever a builder makes of options that it does not know
            raise ConfigurationError(
                f"{made_as.name} cannot be built with its backbone.kwargs "
                f"({first_line(error)}): {_ELSE}"
            ) from error
    state = backbone.state_dict()
    if sentence := misfit(network, state):
        raise ConfigurationError(
            f"the backbone does not fit its {made_as.name}: {sentence}; {_ELSE}"
        )
    network.load_state_dict(state, strict=True)
    return network.eval()
