"""A backbone and its transform, without solo-learn where the network is not its own."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mast_plugin import load_backbone
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.features.extraction import extract_features
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.network.architecture import host_backbone
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.evaluation.network.plain import OF_TIMM, RESNETS, plain_backbone, plain_head
from mast_plugin.loading.image import Reading

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_backbone_is_a_plain_module_in_evaluation_mode(checkpoint, networks):
    backbone, _ = load_backbone(checkpoint)
    assert type(backbone).__module__ == "torchvision.models.resnet"
    assert not any(module.training for module in backbone.modules())
    torch.testing.assert_close(backbone(IMAGES), networks[0](IMAGES), rtol=0, atol=0)


def test_the_transform_is_that_of_the_runs_view(checkpoint):
    _, transform = load_backbone(str(checkpoint))
    assert repr(transform) == (
        "ImageTransform(size=24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), "
        "exif_orientation=False, bit_depth=None, interpolation='bicubic')"
    )
    _, other = load_backbone(checkpoint, size=32, mean=(0, 0, 0), std=[1, 1, 1])
    assert (other.size, other.mean, other.std) == (32, (0, 0, 0), (1, 1, 1))


def test_bare_weights_get_imagenets_view(tmp_path, networks):
    torch.save(networks[0].state_dict(), tmp_path / "weights.pth")
    backbone, transform = load_backbone(tmp_path / "weights.pth", name="resnet18")
    torch.testing.assert_close(backbone(IMAGES), networks[0](IMAGES), rtol=0, atol=0)
    assert (transform.size, transform.mean) == (224, (0.485, 0.456, 0.406))
    with pytest.raises(ConfigurationError, match=r"does not say which network .*backbone.name="):
        load_backbone(tmp_path / "weights.pth")


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_path_and_an_opened_image_give_what_evaluation_sees(checkpoint, tmp_path, mode):
    """Orientation included: it is stated, and the run was trained without heeding it."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "image.png"
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    backbone, transform = load_backbone(checkpoint)
    view = ViewStatistics(24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), Reading(upright=False))
    expected = extract_features(backbone, [path], view.centred(), reading=view.reading)
    for image in (path, str(path), Image.open(path)):
        tensor = transform(image)
        assert tensor.shape == (3, 24, 24) and tensor.dtype == torch.float32
        torch.testing.assert_close(backbone(tensor[None]), expected, rtol=0, atol=0)


def test_an_image_that_cannot_be_used_is_refused_in_one_sentence(checkpoint, tmp_path):
    _, transform = load_backbone(checkpoint)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"broken.png cannot be read as an image"):
        transform(tmp_path / "broken.png")
    with pytest.raises(DataError, match=r"the image cannot be used .*floating-point"):
        transform(Image.new("F", (8, 8)))


@pytest.mark.parametrize("changed", ["head.mask_logits", "head.projector.6.bias"])
def test_a_head_is_made_of_all_its_weights_or_not_at_all(checkpoint, changed):
    state = torch.load(checkpoint)["state_dict"]
    assert plain_head(state) is not None
    assert plain_head(state | {changed: torch.zeros(3)}) is None
    del state[changed]
    assert plain_head(state) is None


@pytest.mark.slow
def test_what_does_not_fit_is_refused_as_with_the_host(checkpoint, tmp_path, host):
    state = torch.load(checkpoint)["state_dict"]
    del state["encoder.conv1.weight"]
    torch.save({"state_dict": state}, tmp_path / "run.ckpt")
    shutil.copy(checkpoint.parent / "args.json", tmp_path)
    with pytest.raises(ConfigurationError, match=r"run.ckpt .*missing .*conv1.weight"):
        load_backbone(tmp_path / "run.ckpt")


def test_the_heads_of_a_checkpoint_are_read_from_its_weights(checkpoint, networks):
    network = open_network(checkpoint, host=False)
    assert network.model is None and network.types == ("crop", "color_jitter", "horizontal_flip")
    head, features = networks[1], networks[0](IMAGES)
    torch.testing.assert_close(network.projector(features), head(features), rtol=0, atol=0)
    torch.testing.assert_close(network.masks, head.masks, rtol=0, atol=0)
    assert network.log_variance(features, features).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "kwargs", "method"),
    [
        ("poolformer_s12", {}, "mast"),
        ("wide_resnet28w2", {}, "mast"),
        ("swin_tiny", {}, "mast"),
        ("vit_tiny", {}, "mae"),
    ],
)
def test_networks_that_only_the_host_has_are_not_guessed(name, kwargs, method):
    assert plain_backbone(name, kwargs, "imagenet", method) is None


@pytest.mark.slow
def test_neither_solo_learn_nor_its_engine_is_imported(checkpoint, tmp_path):
    program = (
        "import sys; from mast_plugin import load_backbone, embed\n"
        "backbone, transform = load_backbone(sys.argv[1])\n"
        "print(sorted({'solo', 'lightning', 'pytorch_lightning', 'timm'} & set(sys.modules)))"
    )
    for path in (checkpoint, checkpoint.with_name("of-vicreg.ckpt")):
        if path is not checkpoint:
            shutil.copy(checkpoint, path)
            changed = json.loads((checkpoint.parent / "args.json").read_text())
            (tmp_path / "args.json").write_text(json.dumps(changed | {"method": "vicreg"}))
            path = path.rename(tmp_path / path.name)
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(path)],
            capture_output=True,
            text=True,
        )
        assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kwargs", "stem"),
    [
        ("resnet18", {}, "cifar"),
        ("resnet18", {"zero_init_residual": True}, "imagenet"),
        ("resnet50", {}, "imagenet"),
        ("vit_tiny", {"img_size": 32, "patch_size": 8}, "imagenet"),
        ("vit_tiny", {"img_size": 32, "patch_size": 16, "dynamic_img_size": True}, "imagenet"),
        ("swin_tiny", {"img_size": 32, "window_size": 4}, "imagenet"),
    ],
)
def test_a_plain_network_is_the_hosts_own(host, name, kwargs, stem):
    from mast_plugin.evaluation.network.architecture import host_names

    if name not in host_names(host):
        pytest.skip("this host does not have it")
    reference = host_backbone(name, kwargs, stem).eval()
    network = plain_backbone(name, kwargs, stem).eval()
    network.load_state_dict(reference.state_dict(), strict=True)
    with torch.inference_mode():
        torch.testing.assert_close(network(IMAGES), reference(IMAGES), rtol=0, atol=0)


@pytest.mark.slow
def test_every_name_of_timm_is_one_that_timm_has():
    import timm

    assert not set(OF_TIMM) & set(RESNETS)
    assert all(timm.is_model(name) for name in OF_TIMM.values())


@pytest.mark.parametrize("method", ["mast", "vicreg"])
def test_a_real_checkpoint_gives_the_features_of_evaluation(trained, method):
    (path,) = trained(method).glob("*.ckpt")
    backbone, transform = load_backbone(path)
    network = open_network(path)
    torch.testing.assert_close(backbone(IMAGES), network.backbone(IMAGES), rtol=0, atol=0)
    assert transform.size == 32 and isinstance(backbone, nn.Module)
    if method == "mast":
        plain = open_network(path, host=False)
        torch.testing.assert_close(plain.masks, network.masks, rtol=0, atol=0)
        features = network.backbone(IMAGES)
        torch.testing.assert_close(
            plain.projector(features), network.projector(features), rtol=0, atol=0
        )
