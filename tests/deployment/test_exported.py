"""A checkpoint for other programs: strict weights, equal features, one sentence where it cannot."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mast_plugin import load_backbone, load_model
from mast_plugin.deployment import exported
from mast_plugin.deployment.exported import checked, export
from mast_plugin.deployment.onnx_graph import Fixed, onnx_features, write_onnx
from mast_plugin.deployment.subspace import BackboneName
from mast_plugin.deployment.target import timm_target, torchvision_target
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError

MAIN = Path(__file__).parents[2] / "main_export.py"
IMAGES = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def options(imagenet_checkpoint, tmp_path):
    def make(kind, **changes):
        given = {"checkpoint": str(imagenet_checkpoint), "format": kind}
        given["output"] = str(tmp_path / "out" / "exported")
        return OmegaConf.create({**given, **changes})

    return make


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_torchvisions_network_takes_the_weights_strictly(
    options, imagenet_checkpoint, tmp_path, ending
):
    """By the lines that the command itself prints."""
    written = export(options("torchvision", output=str(tmp_path / f"resnet18{ending}")))
    names: dict[str, object] = {}
    exec(f"import torch, torchvision, safetensors.torch\n{written.usage}", names)
    network = names["network"].eval()
    assert type(network).__module__ == "torchvision.models.resnet"
    backbone, _ = load_backbone(imagenet_checkpoint)
    torch.testing.assert_close(network(IMAGES), backbone(IMAGES), rtol=0, atol=0)
    assert [each.name for each in tmp_path.iterdir()] == [f"resnet18{ending}"]


def test_timm_creates_the_network_from_the_folder(options, imagenet_checkpoint, tmp_path):
    timm = pytest.importorskip("timm")
    written = export(options("timm"))
    names: dict[str, object] = {"timm": timm}
    exec(written.usage, names)
    backbone, transform = load_backbone(imagenet_checkpoint)
    network = names["network"]
    torch.testing.assert_close(network(IMAGES), backbone(IMAGES), rtol=1e-5, atol=1e-5)
    assert tuple(network.pretrained_cfg["mean"]) == transform.mean
    assert tuple(network.pretrained_cfg["input_size"]) == (3, 24, 24)
    folder = tmp_path / "out" / "exported"
    assert sorted(each.name for each in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_timms_own_networks_keep_their_options(tmp_path):
    timm = pytest.importorskip("timm")
    options = {"img_size": 32, "patch_size": 8, "num_classes": 0}
    reference = timm.create_model("vit_tiny_patch16_224", **options).eval()
    torch.save(reference.state_dict(), tmp_path / "vit.pth")
    kwargs = {"img_size": 32, "patch_size": 8}
    given = {
        "checkpoint": str(tmp_path / "vit.pth"),
        "format": "timm",
        "output": str(tmp_path / "vit"),
        "backbone": {"name": "vit_tiny_patch16_224", "kwargs": kwargs},
        "view": {"crop_size": 32},
    }
    export(OmegaConf.create(given))
    network = timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True).eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(images), reference(images), rtol=1e-5, atol=1e-5)


def test_safetensors_hold_the_whole_network(options, checkpoint, tmp_path):
    cfg = options("safetensors", checkpoint=str(checkpoint), output=str(tmp_path / "m.safetensors"))
    export(cfg)
    expected, _ = load_model(checkpoint)
    model, _ = load_model(tmp_path / "m.safetensors")
    torch.testing.assert_close(model(IMAGES, "crop"), expected(IMAGES, "crop"), rtol=0, atol=0)
    backbone, _ = load_backbone(tmp_path / "m.safetensors")
    torch.testing.assert_close(backbone(IMAGES), expected.backbone(IMAGES), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("choice", [{}, {"invariant_to": ["crop"], "free_of": ["color_jitter"]}])
def test_onnx_has_a_dynamic_batch_and_the_masks_inside(options, checkpoint, tmp_path, choice):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    export(options("onnx", checkpoint=str(checkpoint), output=str(path), **choice))
    model, _ = load_model(checkpoint) if choice else load_backbone(checkpoint)
    session = onnxruntime.InferenceSession(str(path))
    for count in (1, 5):
        images = torch.randn(count, 3, 24, 24)
        (found,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(
            torch.from_numpy(found), model(images, **choice), rtol=1e-4, atol=1e-4
        )
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kwargs", "takers"),
    [
        ("resnet18", {}, "torchvision timm onnx"),
        ("resnet50", {}, "torchvision timm onnx"),
        ("vit_tiny", {"img_size": 32, "patch_size": 8}, "timm onnx"),
        ("swin_tiny", {"img_size": 32, "window_size": 4}, "timm onnx"),
        ("convnext_tiny", {}, "timm onnx"),
    ],
)
def test_a_backbone_of_both_hosts_is_taken_by_whom_the_guide_says(name, kwargs, takers, tmp_path):
    pytest.importorskip("timm")
    made_as = BackboneName(name, kwargs, "imagenet")
    backbone = made_as.built().eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = {"torchvision": torchvision_target, "timm": timm_target}
    for library, target in targets.items():
        if library in takers:
            torch.testing.assert_close(
                target(made_as, backbone)(images), backbone(images), rtol=1e-5, atol=1e-5
            )
        else:
            with pytest.raises(ConfigurationError, match=r"choose format=safetensors or onnx"):
                target(made_as, backbone)
    if importlib.util.find_spec("onnxscript") and importlib.util.find_spec("onnxruntime"):
        view = ImageTransform(32, (0, 0, 0), (1, 1, 1))
        write_onnx(Fixed(backbone, {}), view, tmp_path / "x.onnx")
        found = onnx_features(tmp_path / "x.onnx")(images)
        torch.testing.assert_close(found, backbone(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_cifar_stem_is_refused_where_the_target_has_none(options, checkpoint, tmp_path, kind):
    with pytest.raises(ConfigurationError, match=rf"CIFAR stem, with which {kind} builds no resn"):
        export(options(kind, checkpoint=str(checkpoint)))
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("h5", {}, "format is 'h5'; it must be one of torchvision, timm"),
        ("torchvision", {"free_of": ["crop"]}, "format=torchvision holds no subspace alone"),
        ("safetensors", {"representation": "embedding"}, "format=safetensors holds no embedding"),
        ("onnx", {"invariant_to": ["hue"]}, "invariant_to names 'hue'|needs onnx"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(options, kind, changes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        export(options(kind, **changes))


def test_onnx_without_its_packages_is_refused(options, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"needs onnx: .*'mast-plugin\[export\]'"):
        checked(options("onnx"))


def test_features_that_differ_leave_no_file(options, monkeypatch, tmp_path):
    write = exported._WRITERS["torchvision"]

    def off(network, part, output):
        features, usage = write(network, part, output)
        return lambda images: features(images) * 1.001, usage

    monkeypatch.setattr(exported, "_WRITERS", {"torchvision": off})
    with pytest.raises(ConfigurationError, match="differ by 1e-03 of the largest, more than 1e-05"):
        export(options("torchvision"))
    assert not list((tmp_path / "out").iterdir())


def test_what_is_there_is_replaced_only_when_asked(options, tmp_path):
    (tmp_path / "out" / "exported").mkdir(parents=True)
    (tmp_path / "out" / "exported" / "mine.txt").touch()
    (tmp_path / "out" / "exported" / "config.json").touch()
    for overwrite in (False, True):
        with pytest.raises(ConfigurationError, match="exported is there already: give another"):
            export(options("timm", overwrite=overwrite))
    (tmp_path / "out" / "exported" / "mine.txt").unlink()
    export(options("timm", overwrite=True))
    (tmp_path / "weights.pth").write_text("mine")
    cfg = options("torchvision", output=str(tmp_path / "weights.pth"))
    with pytest.raises(ConfigurationError, match=r"weights.pth is there already.*overwrite=true"):
        export(cfg)
    export(OmegaConf.merge(cfg, {"overwrite": True}))
    assert (tmp_path / "weights.pth").stat().st_size > 10**6


@pytest.mark.slow
def test_the_command_says_how_to_load_it(imagenet_checkpoint, tmp_path):
    command = [sys.executable, "-W", "ignore", str(MAIN), f"checkpoint={imagenet_checkpoint}"]
    done = subprocess.run(
        [*command, "format=torchvision"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "backbone.pth is written" in done.stdout and "strict=True" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["backbone.pth"]
