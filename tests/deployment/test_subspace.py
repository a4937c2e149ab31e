"""Backbone, projector and masks as one module, saved and loaded."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torchvision.models import resnet18

from mast_plugin import SubspaceFeatures, embed, load_backbone, load_model
from mast_plugin.deployment import subspace
from mast_plugin.deployment.subspace import BackboneName
from mast_plugin.errors import ConfigurationError
from mast_plugin.files.tensor_file import read_tensors, write_tensors

from .conftest import TYPES

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def loaded(checkpoint):
    return load_model(checkpoint)


@pytest.fixture
def saved(loaded, tmp_path):
    model, transform = loaded
    model.save(tmp_path / "subspaces.safetensors", transform)
    return tmp_path / "subspaces.safetensors"


def test_everything_of_a_checkpoint_is_in_it(checkpoint, networks, loaded):
    model, transform = loaded
    backbone, head = networks
    assert model.types == TYPES and transform == load_backbone(checkpoint)[1]
    assert not any(module.training for module in model.modules())
    torch.testing.assert_close(model.masks, head.masks, rtol=0, atol=0)
    torch.testing.assert_close(model(IMAGES), head(backbone(IMAGES)), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("invariant_to", "free_of", "weights"),
    [
        (None, None, lambda m: torch.ones(12)),
        ([], (), lambda m: torch.ones(12)),
        ("crop", None, lambda m: m[0]),
        (["horizontal_flip", "crop"], None, lambda m: m[0] * m[2]),
        (None, "color_jitter", lambda m: 1 - m[1]),
        (None, ["crop", "color_jitter"], lambda m: (1 - m[0]) * (1 - m[1])),
        (["crop"], ["color_jitter"], lambda m: m[0] * (1 - m[1])),
    ],
)
def test_masks_multiply_and_what_they_leave_out_does(
    loaded, networks, invariant_to, free_of, weights
):
    backbone, head = networks
    expected = head(backbone(IMAGES)) * weights(head.masks.detach())
    found = loaded[0](IMAGES, invariant_to=invariant_to, free_of=free_of)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"invariant_to": ["crop", "hue"]}, "^invariant_to names 'hue', .* choose from crop, co"),
        ({"free_of": "Crop"}, "^free_of names 'Crop', of which there is no mask"),
        ({"free_of": "crop", "invariant_to": "crop"}, "^crop is in invariant_to and in free_of"),
    ],
)
def test_unknown_types_are_refused_with_the_list(loaded, options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        loaded[0](IMAGES, **options)


def test_a_network_without_masks_has_no_types(networks):
    model = SubspaceFeatures(networks[0], networks[1].projector)
    with pytest.raises(ConfigurationError, match="invariant_to needs masks, and this network has"):
        model(IMAGES, invariant_to="crop")
    with pytest.raises(ConfigurationError, match="there are 2 masks and 1 names of types"):
        SubspaceFeatures(networks[0], networks[1].projector, torch.ones(2, 12), ["crop"])


def test_embed_hands_the_choice_on(loaded, image_folder):
    model, transform = loaded
    found = embed(model, image_folder, transform, invariant_to=["crop"], progress=False)
    whole = embed(model, image_folder, transform, progress=False)
    torch.testing.assert_close(found.features, whole.features * model.masks[0])


def test_a_saved_file_gives_the_same_module(loaded, saved):
    model, transform = loaded
    again, its_transform = load_model(saved)
    assert its_transform == transform and again.types == TYPES
    options = {"invariant_to": ["crop"], "free_of": ["color_jitter"]}
    torch.testing.assert_close(again(IMAGES, **options), model(IMAGES, **options), rtol=0, atol=0)
    assert not any(module.training for module in again.modules())
    assert load_model(saved, size=40)[1].size == 40


def test_the_names_of_the_types_stand_in_its_metadata(saved):
    with safe_open(saved, framework="pt") as file:
        assert json.loads(file.metadata()["types"]) == list(TYPES)


def test_the_vit_of_another_name_is_saved_too(networks, loaded, tmp_path):
    pytest.importorskip("timm")
    made_as = BackboneName("vit_tiny", {"img_size": 32, "patch_size": 16}, "imagenet")
    projector = nn.Sequential(nn.Linear(192, 4, bias=False), nn.BatchNorm1d(4, affine=False))
    model = SubspaceFeatures(made_as.built(), projector, made_as=made_as).eval()
    model.save(tmp_path / "vit.safetensors", loaded[1])
    again, _ = load_model(tmp_path / "vit.safetensors")
    torch.testing.assert_close(again(IMAGES), model(IMAGES), rtol=0, atol=0)


@pytest.mark.parametrize(
    "projector", [nn.Linear(512, 4), nn.Sequential(nn.Linear(512, 4), nn.GELU(), nn.Linear(4, 4))]
)
def test_what_could_not_be_built_again_is_not_saved(networks, loaded, tmp_path, projector):
    model = SubspaceFeatures(networks[0], projector, made_as=loaded[0].made_as)
    with pytest.raises(ConfigurationError, match=r"x.safetensors cannot be written"):
        model.save(tmp_path / "x.safetensors", loaded[1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("types", '["crop"]', "3 masks and 1 names"),
        ("types", "no JSON", "cannot be read .*: save it again"),
        ("transform", "{}", "cannot be read .*: save it again"),
        ("backbone", '{"name": "resnet50", "kwargs": {}, "stem": "cifar"}', "does not fit"),
        (
            "backbone",
            '{"name": "vit_tiny", "kwargs": {"checkpoint_path": "x"}, "stem": "imagenet"}',
            "checkpoint_path",
        ),
        ("format", "mast_plugin.SubspaceFeatures 2", "format that this version does not know"),
    ],
)
def test_a_file_that_does_not_fit_itself_is_refused(saved, tmp_path, key, value, sentence):
    noted = subspace.metadata(saved)
    noted.pop("mast_plugin.sha256")
    write_tensors(tmp_path / "other.safetensors", read_tensors(saved), noted | {key: value})
    with pytest.raises(ConfigurationError, match=rf"other.safetensors .*{sentence}"):
        load_model(tmp_path / "other.safetensors")


def test_bare_weights_have_no_subspaces(tmp_path):
    from safetensors.torch import save_file

    save_file(resnet18().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ConfigurationError, match="does not say which network"):
        load_model(tmp_path / "weights.safetensors")


@pytest.mark.slow
def test_neither_solo_learn_nor_its_engine_is_imported(checkpoint, saved):
    program = (
        "import sys; from mast_plugin import load_model\n"
        "for path in sys.argv[1:]: load_model(path)\n"
        "print(sorted({'solo', 'lightning', 'pytorch_lightning', 'timm'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(checkpoint), str(saved)],
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_a_built_in_methods_projector_is_there_and_can_be_saved(trained, tmp_path):
    (path,) = trained("vicreg").glob("*.ckpt")
    model, transform = load_model(path)
    assert model.types == () and model(IMAGES).shape == (3, 24)
    model.save(tmp_path / "vicreg.safetensors", transform)
    again, _ = load_model(tmp_path / "vicreg.safetensors")
    torch.testing.assert_close(again(IMAGES), model(IMAGES), rtol=0, atol=0)
