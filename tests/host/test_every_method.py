"""Each method of the installed solo-learn trains for two epochs, and its checkpoint opens."""

import logging
import warnings

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf, open_dict

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.host import memory
from mast_plugin.host.momentum import padded
from mast_plugin.pretrain import pretrain

PREDICTOR = {"pred_hidden_dim": 16}
QUEUE = {"queue_size": 32}
WARM = {"temperature": 0.2}
VIT = {"name": "vit_tiny", "kwargs": {"patch_size": 8}}
OPTIONS: dict[str, dict] = {
    "all4one": PREDICTOR | QUEUE | WARM,
    "barlow_twins": {},
    "byol": PREDICTOR,
    "deepclusterv2": {"num_prototypes": [4, 4], "kmeans_iters": 2},
    "dino": {"num_prototypes": 16, "warmup_teacher_temperature_epochs": 1},
    "mae": {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2},
    "mast": {},
    "mocov2plus": QUEUE | WARM,
    "mocov3": PREDICTOR | WARM,
    "nnbyol": PREDICTOR | QUEUE,
    "nnclr": PREDICTOR | QUEUE | WARM,
    "nnsiam": PREDICTOR | QUEUE,
    "ressl": QUEUE | {"temperature_q": 0.1, "temperature_k": 0.04},
    "simclr": WARM,
    "simsiam": PREDICTOR,
    "supcon": WARM,
    "swav": {"num_prototypes": 8, "queue_size": 16} | WARM,
    "vibcreg": {},
    "vicreg": {},
    "wmse": {"whitening_size": 8, "whitening_iters": 1, "proj_output_dim": 2},
}
OF_TRANSFORMERS = ("mae", "mocov3")


def test_every_method_of_the_host_is_listed(host):
    assert set(host.METHODS) - {"base", "linear"} <= set(OPTIONS)


@pytest.mark.parametrize("method", sorted(OPTIONS))
def test_it_trains_and_its_checkpoint_opens(method, host, small):
    if method not in host.METHODS:
        pytest.skip("this solo-learn has no such method")
    cfg = small("mast" if method == "mast" else "vicreg", "max_epochs=2", "data.check=false")
    with open_dict(cfg):
        cfg.method = method
        if method != "mast":
            widths = {"proj_hidden_dim": 16, "proj_output_dim": 24}
            given = {**widths, **OPTIONS[method]}
            known = host.method_options(method)
            cfg.method_kwargs = {k: v for k, v in given.items() if k in known}
        if method in OF_TRANSFORMERS:
            cfg.backbone = OmegaConf.create(VIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        folder = pretrain(cfg).folder
        (checkpoint,) = folder.glob("*ep=1.ckpt")
        network = open_network(checkpoint)
    assert network.backbone(torch.randn(2, 3, 32, 32)).isfinite().all()
    assert network.method == method


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("dino", {}, "warmup_teacher_temperature_epochs is 50, more than max_epochs=1"),
        ("wmse", {}, "whitening_size is 256, which does not divide optimizer.batch_size=8"),
        (
            "wmse",
            {"whitening_size": 4, "proj_output_dim": 4},
            "whitening_size is 4, and to whiten 4 dimensions",
        ),
    ],
)
def test_options_that_a_method_would_stop_at_are_named(method, options, sentence, small):
    cfg = small("vicreg", "data.check=false")
    with open_dict(cfg):
        cfg.method, cfg.method_kwargs = method, options
    with pytest.raises(ConfigurationError, match=sentence):
        pretrain(cfg)


def test_embeddings_that_cannot_be_whitened_name_the_option(host, small):
    cfg = small("vicreg", "data.check=false", "optimizer.lr=0", "crop_size=8")
    with open_dict(cfg):
        cfg.method = "wmse"
        cfg.method_kwargs = {**OPTIONS["wmse"], "proj_hidden_dim": 1}
        cfg.augmentations = [{"crop_size": 8, "num_crops": 2, "crop": {"min_scale": 0.9}}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        with pytest.raises(ConfigurationError, match=r"raise method_kwargs\.whitening_eps"):
            pretrain(cfg)


def test_a_momentum_classifier_of_few_classes(host, small):
    """Three, where both hosts ask for the five likeliest."""
    cfg = small("vicreg", "method=byol", "++method_kwargs.pred_hidden_dim=8", "data.check=false")
    cfg.momentum.classifier = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        found = pretrain(cfg).metrics
    name = next(each for each in found if each.startswith("train_momentum_class_loss"))
    assert 0 < found[name] < 5
    logits = torch.randn(6, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    losses = [F.cross_entropy(each, labels) for each in (logits, padded(None, None, logits))]
    assert torch.equal(*losses)
    assert torch.equal(*(torch.autograd.grad(each, logits)[0] for each in losses))


@pytest.mark.parametrize("method", memory.METHODS)
def test_what_a_method_remembers_survives_a_resumption(method, host, small):
    """They make room for it only when training starts."""
    if method not in host.METHODS:
        pytest.skip("this solo-learn has no such method")
    cfg = small("vicreg", "max_epochs=2", "data.check=false", "scheduler.name=none")
    with open_dict(cfg):
        cfg.method = method
        cfg.method_kwargs = {"proj_hidden_dim": 16, "proj_output_dim": 24, **OPTIONS[method]}
        cfg.checkpoint.keep_prev = True
        if method == "swav":
            cfg.method_kwargs.epoch_queue_starts = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = pretrain(cfg).folder
        cfg.resume_from_checkpoint = str(next(folder.glob("*ep=0.ckpt")))
        resumed = pretrain(cfg).folder
    whole, cut = (
        torch.load(next(place.glob("*ep=1.ckpt")), weights_only=False)["state_dict"]
        for place in (folder, resumed)
    )
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=0, atol=0)


@pytest.fixture(autouse=True)
def quiet():
    """Some hosts announce by logging which of two transformers they took."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)
