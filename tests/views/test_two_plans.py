"""Whole runs whose two views are made by two blocks."""

import warnings

import pytest
import torch

from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.pretrain import pretrain
from mast_plugin.views.plan import parse_pair

ONE = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 1.0},
    "solarization": {"prob": 0.0},
    "equalization": {"prob": 0.0},
    "horizontal_flip": {"prob": 0.5},
    "crop_size": 32,
    "num_crops": 1,
}
OTHER = {**ONE, "gaussian_blur": {"prob": 0.1}, "solarization": {"prob": 0.2}}
"""The host's asymmetric blocks, but smaller."""


@pytest.fixture(params=["image_folder", "dali"])
def trained_on(request, host, small):
    """Two steps on some blocks; returns the checkpoint."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="DALI is not installed")

    def run(name, *blocks):
        cfg = small("mast", f"data.format={request.param}", "evaluation.dataset=null")
        cfg.augmentations, cfg.name = list(blocks), name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the engine's, of a whole run
            return next(pretrain(cfg).folder.glob("*.ckpt"))

    return run


def test_a_run_on_two_blocks_has_a_mask_for_every_type_of_either(trained_on):
    network = open_network(trained_on("two", ONE, OTHER))
    mean, std = network.mean, network.std
    assert network.plan == parse_pair([ONE, OTHER], mean=mean, std=std)
    assert "solarization" in network.types
    assert len(network.masks) == len(network.types) == 6


def test_two_equal_blocks_are_one_block_bit_for_bit(trained_on):
    pairs = [trained_on("twice", OTHER, OTHER), trained_on("once", {**OTHER, "num_crops": 2})]
    ours, theirs = (torch.load(path, weights_only=False)["state_dict"] for path in pairs)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
