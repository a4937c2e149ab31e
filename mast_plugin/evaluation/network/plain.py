"""Networks of solo-learn that torchvision and timm build as well: neither host is imported."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mast_plugin.core.head import SubspaceHead

RESNETS = ("resnet18", "resnet50")
_SIZES = ("tiny", "small", "base", "large")
OF_TIMM: Mapping[str, str] = {
    **{f"vit_{size}": f"vit_{size}_patch16_224" for size in _SIZES},
    **{f"swin_{size}": f"swin_{size}_patch4_window7_224" for size in _SIZES},
    **{f"convnext_{size}": f"convnext_{size}" for size in _SIZES},
}
"""timm's name of what the hosts call otherwise; the same layers, by the same names.

ConvNeXt has not been compared with the main branch's own, which timm 1.0.31 cannot build.
"""
_OTHER_VITS = ("mae", "mocov3")
"""Methods for which the main branch has transformers of its own."""
_HEAD = "head."
_PARTS = ("projector.", "mask_logits", "uncertainty.")


def plain_backbone(
    name: str, kwargs: Mapping[str, Any], stem: str, method: str = "mast"
) -> nn.Module | None:
    """Build a host's backbone by torchvision or timm, without its classifier.

    Args:
        name: ``backbone.name``.
        kwargs: ``backbone.kwargs``.
        stem: of a ResNet, ``cifar`` (3 x 3, stride 1, padding 2, no pooling) or ``imagenet``.
        method: whose backbone it is.

    Returns:
        A network with weights that are drawn at random; ``None`` where only the host has it: of
        another name, of another class, or with a window of Swin that the host chooses.

    Raises:
        Exception: of any kind, from a builder that is given options that it does not know.
    """
    if name in RESNETS:
        from torchvision import models

        network: nn.Module = models.get_model(name, weights=None, **kwargs)
        network.fc = nn.Identity()
        if stem == "cifar":
            set_cifar_stem(network)
        return network
    chosen_by_host = name.startswith("swin") and "window_size" not in kwargs
    if name not in OF_TIMM or method in _OTHER_VITS or chosen_by_host:
        return None
    import timm

    return timm.create_model(OF_TIMM[name], pretrained=False, num_classes=0, **kwargs)


def set_cifar_stem(network: nn.Module, channels: int = 64, colours: int = 3) -> None:
    """Give a ResNet both hosts' CIFAR stem: a 3 x 3 convolution of stride 1, and no pooling."""
    network.conv1 = nn.Conv2d(colours, channels, kernel_size=3, stride=1, padding=2, bias=False)
    network.maxpool = nn.Identity()


def plain_head(state: Mapping[str, Tensor]) -> SubspaceHead | None:
    """Build MAST's head from a checkpoint's weights; the predictor of differences is left out.

    Args:
        state: of the whole method.

    Returns:
        The head in evaluation mode with its weights, or ``None`` where they do not make one.
    """
    found = {
        name.removeprefix(_HEAD): value
        for name, value in state.items()
        if name.startswith(tuple(_HEAD + part for part in _PARTS))
    }
    first, logits = found.get("projector.0.weight"), found.get("mask_logits")
    if first is None or logits is None or first.ndim != 2 or logits.ndim != 2:
        return None
    head = SubspaceHead(
        features_dim=first.shape[1],
        hidden_dim=first.shape[0],
        embedding_dim=logits.shape[1],
        num_types=logits.shape[0],
        uncertainty="uncertainty.0.weight" in found,
    )
    expected = {name: value.shape for name, value in head.state_dict().items()}
    if {name: value.shape for name, value in found.items()} != expected:
        return None
    head.load_state_dict(found, strict=True)
    return head.eval()
