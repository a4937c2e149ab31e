"""A network small enough that a checkpoint of it costs milliseconds."""

from typing import Any

from torchvision import models
from torchvision.models.resnet import BasicBlock, ResNet

from mast_plugin.host import host_kind

_FACTOR = 8
"""By how much the stages are narrower than ResNet-18's."""


class _Narrow(ResNet):
    """One block a stage instead of two, and an eighth of the width: 100,000 weights."""

    def __init__(self, **options: Any) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], **options)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **options: Any) -> Any:
        return super()._make_layer(block, planes // _FACTOR, *arguments, **options)


def shrink() -> None:
    """Give both hosts the narrow network under the name of resnet18, in this process."""
    if host_kind() == "release":
        models.resnet18 = _narrow  # where the release looks for it, again for every network
    else:
        from solo.methods.base import BaseMethod

        BaseMethod._BACKBONES["resnet18"] = _narrow


def _narrow(method: str = "", **options: Any) -> ResNet:
    """Take what the main branch's backbones take; ``method`` matters to none of ours."""
    return _Narrow(num_classes=1, **options)
