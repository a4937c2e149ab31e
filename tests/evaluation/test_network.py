"""Networks opened from files: real checkpoints of both naming schemes, and bare weights."""

import json
import os
import pickle
import shutil
import warnings
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torchvision.models import resnet18

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.opening import open_network

pytestmark = pytest.mark.slow

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


SIMSIAM = ("vicreg", "method=simsiam", "+method_kwargs.pred_hidden_dim=16")
BYOL = ("vicreg", "method=byol", "+method_kwargs.pred_hidden_dim=16")


def checkpoint_of(folder: Path) -> Path:
    (path,) = folder.glob("*.ckpt")
    return path


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(checkpoint_of(folder), weights_only=False)["state_dict"]


def plain_resnet(state: dict[str, torch.Tensor], prefix: str) -> nn.Module:
    """The same backbone by torchvision alone."""
    network = resnet18()
    network.fc = nn.Identity()
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    network.load_state_dict(own)
    return network.eval()


def own_prefix(state: dict[str, torch.Tensor]) -> str:
    return "encoder." if any(key.startswith("encoder.") for key in state) else "backbone."


def test_a_mast_checkpoint_gives_everything(trained):
    folder = trained("mast")
    network = open_network(checkpoint_of(folder))
    state = weights_of(folder)
    feats = network.backbone(IMAGES)
    torch.testing.assert_close(feats, plain_resnet(state, own_prefix(state))(IMAGES))
    assert network.projector(feats).shape == (2, 24)
    torch.testing.assert_close(network.masks, torch.sigmoid(state["head.mask_logits"]))
    assert network.types == (
        "crop",
        "color_jitter",
        "grayscale",
        "gaussian_blur",
        "horizontal_flip",
    )
    assert network.log_variance(feats, feats).shape == (2, 5)
    assert (network.method, network.backbone_name) == ("mast", "resnet18")
    assert (network.crop_size, network.mean) == (32, (0.485, 0.456, 0.406))
    assert network.cfg["optimizer"]["batch_size"] == 8
    assert not any(module.training for module in network.model.modules())


def test_the_digest_is_that_of_the_file(trained):
    import hashlib

    path = checkpoint_of(trained("mast"))
    assert open_network(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("run", [SIMSIAM, BYOL], ids=["simsiam", "byol"])
def test_a_built_in_methods_projector_is_that_of_its_training(trained, run):
    """SimSiam's checkpoint holds functions of its schedule beside the weights."""
    folder = trained(*run)
    network = open_network(checkpoint_of(folder))
    state = weights_of(folder)
    feats = plain_resnet(state, own_prefix(state))(IMAGES)
    first = torch.nn.functional.linear(
        feats, state["projector.0.weight"], state.get("projector.0.bias")
    )
    torch.testing.assert_close(network.projector[0](network.backbone(IMAGES)), first)
    assert network.projector(feats).shape == (2, 24)
    assert network.masks is None and network.log_variance is None
    assert "crop" in network.types


def test_the_other_hosts_names_are_understood(trained, tmp_path):
    """Momentum networks too: the state dict is renamed and must then fit exactly."""
    folder = trained(*BYOL)
    state = weights_of(folder)
    ours, other = ("encoder.", "backbone.")
    if own_prefix(state) == "backbone.":
        ours, other = other, ours
    renamed = {key.replace(ours, other, 1): value for key, value in state.items()}
    assert any(key.startswith(f"momentum_{other}") for key in renamed)
    torch.save({"state_dict": renamed}, tmp_path / "other.ckpt")
    shutil.copy(folder / "args.json", tmp_path)
    expected = open_network(checkpoint_of(folder)).backbone(IMAGES)
    torch.testing.assert_close(open_network(tmp_path / "other.ckpt").backbone(IMAGES), expected)


def test_the_flat_namespace_of_the_releases_script_is_understood(trained, tmp_path):
    shutil.copy(checkpoint_of(trained("vicreg")), tmp_path / "run.ckpt")
    block = dict(
        **dict.fromkeys(("brightness", "contrast"), 0.4),
        saturation=0.2,
        hue=0.1,
        color_jitter_prob=0.8,
        gray_scale_prob=0.2,
        horizontal_flip_prob=0.5,
        gaussian_prob=0.0,
        solarization_prob=0.0,
        min_scale=0.2,
        max_scale=1.0,
        crop_size=48,
        mean=[0.5, 0.5, 0.5],
        std=[0.2, 0.2, 0.2],
    )
    flat = dict(
        dataset="custom",
        method="vicreg",
        encoder="resnet18",
        name="mine",
        backbone_args={"cifar": False, "zero_init_residual": False},
        num_classes=3,
        proj_hidden_dim=16,
        proj_output_dim=24,
        transform_kwargs=block,
        gpus=[0],
        sim_loss_weight=25.0,
        var_loss_weight=25.0,
        cov_loss_weight=1.0,
        max_epochs=1,
        num_large_crops=2,
        num_small_crops=0,
        wandb=False,
    )
    (tmp_path / "args.json").write_text(json.dumps(flat))
    network = open_network(tmp_path / "run.ckpt")
    assert network.projector(network.backbone(IMAGES)).shape == (2, 24)
    assert (network.method, network.crop_size, network.mean) == ("vicreg", 48, (0.5, 0.5, 0.5))
    assert network.types == ("crop", "color_jitter", "grayscale", "horizontal_flip")


def test_the_main_branchs_script_adds_inert_options_to_our_blocks(trained, tmp_path):
    folder = trained("mast")
    cfg = json.loads((folder / "args.json").read_text())
    inert = {"rrc": {"enabled": False}, "solarization": {"prob": 0.0}}
    cfg["augmentations"] = [inert | block for block in cfg["augmentations"]]
    del cfg["entry"], cfg["momentum"], cfg["evaluation"]
    (tmp_path / "foreign.json").write_text(json.dumps(cfg))
    network = open_network(checkpoint_of(folder), config=tmp_path / "foreign.json")
    assert len(network.types) == len(network.masks) == 5


@pytest.mark.parametrize("form", [OmegaConf.create, dict, lambda cfg: Namespace(**cfg)])
def test_a_configuration_inside_the_checkpoint_is_used(trained, tmp_path, form):
    folder = trained("mast")
    cfg = json.loads((folder / "args.json").read_text())
    content = {"state_dict": weights_of(folder), "hyper_parameters": form(cfg)}
    torch.save(content, tmp_path / "alone.ckpt")
    assert open_network(tmp_path / "alone.ckpt").masks.shape == (5, 24)


def test_a_method_that_the_host_lacks_gives_its_backbone(trained, tmp_path):
    folder = trained("vicreg")
    cfg = json.loads((folder / "args.json").read_text()) | {"method": "of_the_future"}
    (tmp_path / "args.json").write_text(json.dumps(cfg))
    shutil.copy(checkpoint_of(folder), tmp_path / "run.ckpt")
    network = open_network(tmp_path / "run.ckpt")
    state = weights_of(folder)
    expected = plain_resnet(state, own_prefix(state))(IMAGES)
    torch.testing.assert_close(network.backbone(IMAGES), expected)
    assert network.projector is None and network.model is None
    assert "projector.0.weight" in network.dropped


def test_the_global_random_state_is_left_alone(trained):
    path = checkpoint_of(trained("mast"))
    before = torch.get_rng_state()
    open_network(path)
    assert torch.equal(torch.get_rng_state(), before)


# --- bare weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors"])
def test_bare_weights_are_loaded_without_their_classifier(tmp_path, ending):
    reference, path = resnet18(num_classes=7).eval(), tmp_path / f"weights{ending}"
    if ending == ".safetensors":
        from safetensors.torch import save_file

        save_file(reference.state_dict(), path)
    else:
        torch.save(reference.state_dict(), path)
    network = open_network(path, backbone_name="resnet18")
    reference.fc = nn.Identity()
    torch.testing.assert_close(network.backbone(IMAGES), reference(IMAGES))
    assert sorted(network.dropped) == ["fc.bias", "fc.weight"]
    assert network.cfg is None and network.types is None and network.crop_size is None


def test_a_cifar_stem_is_seen_from_the_weights(tmp_path):
    reference = resnet18().eval()
    reference.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    reference.maxpool = reference.fc = nn.Identity()
    torch.save({"state_dict": reference.state_dict()}, tmp_path / "cifar.pth")
    network = open_network(tmp_path / "cifar.pth", backbone_name="resnet18")
    torch.testing.assert_close(network.backbone(IMAGES), reference(IMAGES))


def test_timm_and_options_of_the_builder(tmp_path):
    import timm

    options = {"img_size": 32, "patch_size": 8}
    reference = timm.create_model("vit_tiny_patch16_224", num_classes=3, **options).eval()
    state = {f"module.{key}": value for key, value in reference.state_dict().items()}
    torch.save(state, tmp_path / "vit.pth")
    name = "vit_tiny_patch16_224"
    network = open_network(tmp_path / "vit.pth", backbone_name=name, backbone_kwargs=options)
    reference.reset_classifier(0)
    torch.testing.assert_close(network.backbone(IMAGES), reference(IMAGES))
    assert set(network.dropped) == {"head.weight", "head.bias"}


def test_a_bare_backbone_of_solo_learn(host, tmp_path):
    from mast_plugin.evaluation.network.architecture import host_backbone

    options = {"img_size": 32, "patch_size": 8}
    reference = host_backbone("vit_tiny", options).eval()
    torch.save(reference.state_dict(), tmp_path / "vit.pth")
    network = open_network(tmp_path / "vit.pth", backbone_name="vit_tiny", backbone_kwargs=options)
    torch.testing.assert_close(network.backbone(IMAGES), reference(IMAGES))


def test_a_checkpoints_backbone_alone(trained):
    folder = trained("mast")
    network = open_network(checkpoint_of(folder), backbone_name="resnet18")
    expected = open_network(checkpoint_of(folder)).backbone(IMAGES)
    torch.testing.assert_close(network.backbone(IMAGES), expected)
    assert network.projector is None and "head.mask_logits" in network.dropped


# --- refusals ------------------------------------------------------------------------------------


def refused(match: str):
    return pytest.raises(ConfigurationError, match=match)


def test_a_misfit_lists_the_keys_and_loads_nothing(trained, tmp_path):
    folder = trained("mast")
    state = weights_of(folder)
    del state["head.projector.0.bias"]
    state["head.extra"] = torch.zeros(1)
    state["head.projector.6.weight"] = torch.zeros(3, 4)
    torch.save({"state_dict": state}, tmp_path / "run.ckpt")
    shutil.copy(folder / "args.json", tmp_path)
    with refused("does not fit") as caught:
        open_network(tmp_path / "run.ckpt")
    sentence = str(caught.value)
    assert "missing head.projector.0.bias, unexpected head.extra, misshapen" in sentence
    assert "head.projector.6.weight (3x4, not 24x16)" in sentence and "config=PATH" in sentence


def test_a_misfit_lists_at_most_five_keys(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "weights.pth")
    with refused(r"and 193 more.*backbone\.kwargs"):
        open_network(tmp_path / "weights.pth", backbone_name="resnet50")


class Malice:
    def __init__(self, function, argument):
        self.call = function, (argument,)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval], ids=["system", "eval"])
@pytest.mark.parametrize("save", [torch.save, lambda content, file: pickle.dump(content, file)])
def test_code_in_a_file_is_not_run(tmp_path, function, save):
    witness = tmp_path / "witness"
    command = f"touch {witness}" if function is os.system else f"open({str(witness)!r}, 'w')"
    content = {"state_dict": {"a": torch.zeros(1)}, "loops": Malice(function, command)}
    with (tmp_path / "bad.ckpt").open("wb") as file:
        save(content, file)
    with refused("was not loaded: it refers to|no checkpoint"):
        open_network(tmp_path / "bad.ckpt", backbone_name="resnet18")
    assert not witness.exists()


def test_a_truncated_file_is_refused(trained, tmp_path):
    content = checkpoint_of(trained("mast")).read_bytes()
    (tmp_path / "half.ckpt").write_bytes(content[: len(content) // 2])
    with refused("is truncated or is no checkpoint"):
        open_network(tmp_path / "half.ckpt")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "truncated or is no checkpoint"),
        (b"some text", "truncated or is no checkpoint"),
        (torch.zeros(2), "holds Tensor, not a network's weights"),
        (nn.Linear(2, 2), r"holds an object, not a network's weights: save its state_dict\(\)"),
        ({"state_dict": {}}, "holds no weights"),
        ({"state_dict": {"a": torch.zeros(1)}}, "does not say which network it holds"),
    ],
)
@pytest.mark.parametrize("ending", [".ckpt", ".pth"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content, match, ending):
    path = tmp_path / f"file{ending}"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with refused(match):
        open_network(path)


def test_a_folder_and_a_program_are_called_so(tmp_path):
    with refused("is a folder"):
        open_network(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has moved on from such files, and users have them
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(tmp_path / "program.pt"))
    with refused(r"TorchScript program, which holds code; save the state_dict\(\)"):
        open_network(tmp_path / "program.pt")


def test_a_broken_safetensors_file_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"\x10" * 40)
    with refused("is truncated or is no checkpoint"):
        open_network(tmp_path / "a.safetensors", backbone_name="resnet18")


def test_other_refusals(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "a.pth"
    torch.save({"a": torch.zeros(1)}, path)
    with refused("does not exist"):
        open_network(tmp_path / "nowhere.ckpt")
    with refused("torchvision, timm and solo-learn do not know"):
        open_network(path, backbone_name="resnet19")
    with refused("backbone.kwargs go with backbone.name"):
        open_network(path, backbone_kwargs={"a": 1})
    with refused("cannot be read"):
        open_network(path, config=tmp_path / "nowhere.json")
    (tmp_path / "args.json").write_text("[1]")
    with refused("does not say which network"):
        open_network(path, config=tmp_path / "args.json")
    (tmp_path / "args.json").write_text("{")
    with refused("cannot be read"):
        open_network(path, config=tmp_path / "args.json")


def test_a_configuration_of_another_network_is_refused(trained, tmp_path):
    folder = trained("mast")
    cfg = json.loads((folder / "args.json").read_text())
    for key, value in (("method_kwargs", {"maks": 1}), ("backbone", {"name": "resnet19"})):
        (tmp_path / "args.json").write_text(json.dumps(cfg | {key: value}))
        with refused("cannot be built from its configuration"):
            open_network(checkpoint_of(folder), config=tmp_path / "args.json")
