"""Which backbone is built: its stem and its size follow the views, unless a configuration says so.

Both hosts choose a ResNet's stem by the dataset's name, and leave it to the user to tell a
transformer the size of its images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mast_plugin.errors import ConfigurationError

STEMS = ("auto", "cifar", "imagenet")
"""Of ResNets: ``cifar`` is a 3 x 3 convolution of stride 1 without pooling, ``imagenet`` a 7 x 7
convolution of stride 2 and pooling of stride 2; ``auto`` is decided by the side of the views."""

_SMALL_PX = 64
_SWIN_PATCH = 4
_SWIN_WINDOWS = (4, 7)
_NAMED_AFTER = ("cifar10", "cifar100")


def stem_of_views(size_px: int) -> str:
    """``cifar`` for views of less than 64 px, of which ImageNet's stem would leave a pixel or so.

    The bound is this project's choice: from there on the CIFAR stem costs more than ImageNet's does
    at 224 px.
    """
    return "cifar" if size_px < _SMALL_PX else "imagenet"


def stem_of_dataset(dataset: object) -> str:
    """What both hosts build for ``data.dataset``, as checkpoints that name no stem were built."""
    return "cifar" if dataset in _NAMED_AFTER else "imagenet"


def stem_of_weights(state: Mapping[str, Any]) -> str | None:
    """The stem that a ResNet's weights are for; ``None`` for any other network's.

    Args:
        state: tensors by the names of the bare backbone.
    """
    first = state.get("conv1.weight")
    if first is None or "layer1.0.conv1.weight" not in state or first.ndim != 4:
        return None
    return {(3, 3): "cifar", (7, 7): "imagenet"}.get(tuple(first.shape[2:]))


def fitted(backbone: Mapping[str, Any], sizes_px: Sequence[int]) -> dict[str, Any]:
    """The section ``backbone`` with everything that follows from the views.

    Args:
        backbone: plain values; what it says already stays.
        sizes_px: sides of the views; the first are the large ones.

    Raises:
        ConfigurationError: the backbone cannot be had for views of this size.
    """
    name, kwargs = str(backbone["name"]), dict(backbone.get("kwargs") or {})
    size = sizes_px[0]
    several = len(set(sizes_px)) > 1
    if name.startswith("swin"):
        _require_whole_patches(name, _SWIN_PATCH, sizes_px)
        kwargs.setdefault("window_size", _SWIN_WINDOWS[size >= _SMALL_PX])
        if several:
            kwargs.setdefault("strict_img_size", False)
    if name.startswith("vit"):
        if several:
            kwargs.setdefault("dynamic_img_size", True)
        _require_whole_patches(name, kwargs.get("patch_size", 16), sizes_px)
    if name.startswith(("swin", "vit")):
        built_for = kwargs.setdefault("img_size", size)
        if built_for not in (size, [size, size]) and not _takes_any_size(kwargs):
            raise ConfigurationError(
                f"backbone.kwargs.img_size is {built_for!r}, but the views have {size} px: leave "
                f"it out, and {name} is built for the views' size"
            )
    result = {**backbone, "kwargs": kwargs}
    if backbone.get("stem") == "auto" and name.startswith("resnet"):
        result["stem"] = stem_of_views(size)
    return result


def _takes_any_size(kwargs: Mapping[str, Any]) -> bool:
    return bool(kwargs.get("dynamic_img_size")) or kwargs.get("strict_img_size") is False


def _require_whole_patches(name: str, patch: object, sizes_px: Sequence[int]) -> None:
    """Refuse views of which the last pixels would be in no patch."""
    for size in sizes_px:
        if isinstance(patch, int) and patch > 0 and size % patch:
            raise ConfigurationError(
                f"views of {size} px cannot be cut into the patches of {patch} px that {name} "
                f"reads: choose a crop_size that is a multiple of {patch}"
                + (", or another backbone.kwargs.patch_size" if name.startswith("vit") else "")
            )


def require_views(name: str, network: Any, sizes_px: Sequence[int]) -> None:
    """Send one grey view of each size through a backbone, before anything is trained.

    Args:
        name: of the backbone.
        network: (1, 3, size, size) images to features; left in training mode.
        sizes_px: sides of the views.

    Raises:
        ConfigurationError: it cannot take one of them.
    """
    import torch

    from mast_plugin.setting.explanation import explained

    network.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for size in sorted(set(sizes_px)):
            with explained(
                f"the backbone {name} cannot take views of {size} px",
                "choose another crop_size in augmentations, or another backbone",
            ):
                network(torch.zeros(1, 3, size, size))
    network.train()
