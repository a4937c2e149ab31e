import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mast_plugin.core.head import SubspaceHead

TYPES = ("crop", "color_jitter", "horizontal_flip")
ARGUMENTS = {
    "name": "tiny",
    "method": "mast",
    "method_kwargs": {"proj_hidden_dim": 8, "proj_output_dim": 12},
    "backbone": {"name": "resnet18", "kwargs": {}},
    "data": {"dataset": "custom", "exif_orientation": False},
    "augmentations": [
        {
            "crop_size": 24,
            "num_crops": 2,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.3, 0.4],
            "crop": {},
            "color_jitter": {},
            "horizontal_flip": {},
        }
    ],
}


def made(stem: str) -> tuple[nn.Module, SubspaceHead]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = resnet18()
        if stem == "cifar":
            backbone.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
            backbone.maxpool = nn.Identity()
        backbone.fc = nn.Identity()
        head = SubspaceHead(features_dim=512, hidden_dim=8, embedding_dim=12, num_types=3)
    return backbone.eval(), head.eval()


def saved(folder: Path, backbone: nn.Module, head: SubspaceHead) -> Path:
    state = {f"encoder.{name}": value for name, value in backbone.state_dict().items()}
    state |= {f"head.{name}": value for name, value in head.state_dict().items()}
    state |= {"head.reader.weight": torch.ones(2, 12), "classifier.bias": torch.zeros(7)}
    torch.save({"state_dict": state}, folder / "ep=3.ckpt")
    (folder / "args.json").write_text(json.dumps(ARGUMENTS))
    return folder / "ep=3.ckpt"


@pytest.fixture(scope="session")
def networks() -> tuple[nn.Module, SubspaceHead]:
    """A backbone with the CIFAR stem, and a head with three masks, both in evaluation mode."""
    return made("cifar")


@pytest.fixture(scope="session")
def checkpoint(networks, tmp_path_factory) -> Path:
    """A checkpoint of them in the release's names, with args.json beside it."""
    return saved(tmp_path_factory.mktemp("run"), *networks)


@pytest.fixture(scope="session")
def imagenet_checkpoint(tmp_path_factory) -> Path:
    """A checkpoint with ImageNet's stem."""
    return saved(tmp_path_factory.mktemp("imagenet"), *made("imagenet"))
