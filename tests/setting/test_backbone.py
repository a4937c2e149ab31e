"""The backbone is built for the views: a ResNet's stem, a transformer's size."""

import json
import warnings

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.host import host_kind
from mast_plugin.registration import register_resolvers
from mast_plugin.setting.backbone import fitted, require_views, stem_of_dataset, stem_of_views
from mast_plugin.setting.configuration import resolve, with_crops
from mast_plugin.setting.shipped import shipped_directory

pytestmark = pytest.mark.slow

STEMS = {"cifar": (3, 3), "imagenet": (7, 7)}


@pytest.fixture
def built(host, small):
    """The method of a cut-down configuration, for views of the sizes given."""

    def build(*overrides: str, sizes: tuple[int, ...] = (32,), name: str = "vicreg"):
        cfg = with_crops(resolve(small(name, *overrides)), sizes, [2] * len(sizes), num_classes=3)
        return host.build(cfg)

    return build


def stem_of(network) -> str:
    return next(stem for stem, kernel in STEMS.items() if network.conv1.kernel_size == kernel)


def test_auto_goes_by_the_views():
    assert [stem_of_views(size) for size in (32, 48, 64, 96, 224)] == ["cifar"] * 2 + [
        "imagenet"
    ] * 3


@pytest.mark.parametrize("dataset", ["cifar10", "custom"])
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", ["vicreg", "mast"])
def test_the_stem_is_the_one_asked_for_whatever_the_dataset_is_called(name, stem, dataset, built):
    model = built(f"backbone.stem={stem}", f"data.dataset={dataset}", name=name)
    network = getattr(model, "backbone", None) or model.encoder
    assert stem_of(network) == stem
    assert isinstance(network.maxpool, nn.Identity) == (stem == "cifar")
    assert model.cfg.data.dataset == dataset  # the main branch is told another name meanwhile


@pytest.mark.parametrize(("size", "stem"), [(32, "cifar"), (64, "imagenet")])
def test_images_of_ones_own_get_the_stem_of_their_size(size, stem, built, host):
    byol = ("method=byol", "+method_kwargs.pred_hidden_dim=8")
    model = built("backbone.stem=auto", *byol, sizes=(size,))
    for network in (host.backbone(model), host.momentum_backbone(model)):
        assert stem_of(network) == stem


SMALL = ["resnet18", "vit_tiny", "swin_tiny"]
ON_MAIN = [*SMALL, "convnext_tiny", "poolformer_s12", "wide_resnet28w2"]


@pytest.mark.parametrize("name", ON_MAIN if host_kind() == "mainline" else SMALL)
@pytest.mark.parametrize("size", [32, 64])
def test_a_backbone_takes_the_views_that_it_is_built_for(name, size, built, host):
    model = built(f"backbone.name={name}", sizes=(size,))
    network = host.backbone(model).eval()
    assert network(torch.zeros(1, 3, size, size)).shape == (1, model.features_dim)


def test_a_transformer_takes_large_and_small_views(built, host):
    sizes = (64, 32)
    network = host.backbone(built("backbone.name=vit_tiny", sizes=sizes))
    require_views("vit_tiny", network, sizes)
    assert network.training


@pytest.mark.parametrize(
    ("backbone", "sizes", "sentence"),
    [
        ({"name": "vit_tiny"}, [40], "views of 40 px cannot be cut into the patches of 16 px"),
        ({"name": "vit_tiny", "kwargs": {"patch_size": 7}}, [32], "a multiple of 7"),
        (
            {"name": "vit_tiny", "kwargs": {"img_size": 224}},
            [32],
            "img_size is 224, but the views have 32 px: leave it out",
        ),
        ({"name": "swin_tiny"}, [50], "the patches of 4 px that swin_tiny reads"),
        ({"name": "swin_tiny", "kwargs": {"img_size": 64}}, [32], "img_size is 64"),
    ],
)
def test_a_combination_that_cannot_be_gets_one_sentence(backbone, sizes, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        fitted(backbone, sizes)


def test_views_that_a_backbone_cannot_take_get_one_sentence():
    network = nn.Conv2d(3, 4, kernel_size=7)
    with pytest.raises(ConfigurationError) as caught:
        require_views("tiny", network, [224, 4])
    assert "the backbone tiny cannot take views of 4 px (" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")  # the engine's own, of a whole run
def test_what_is_fitted_is_kept_with_the_checkpoint(small):
    from mast_plugin.pretrain import pretrain

    overrides = ("backbone.name=vit_tiny", "data.check=false")
    folder = pretrain(small("vicreg", *overrides)).folder
    kept = json.loads((folder / "args.json").read_text())["backbone"]
    assert kept["kwargs"]["img_size"] == 32
    (checkpoint,) = folder.glob("*.ckpt")
    assert open_network(checkpoint).backbone(torch.zeros(1, 3, 32, 32)).shape == (1, 192)


@pytest.mark.parametrize(("dataset", "stem"), [("cifar10", "cifar"), ("custom", "imagenet")])
def test_a_checkpoint_without_a_stem_is_opened_by_its_weights(
    dataset, stem, built, small, tmp_path, host
):
    """Runs before the option, and the hosts' own scripts, went by the dataset's name."""
    overrides = (f"backbone.stem={stem}", f"data.dataset={dataset}")
    model = built(*overrides)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "run.ckpt")
    cfg = OmegaConf.to_container(resolve(small("vicreg", *overrides)), resolve=True)
    del cfg["backbone"]["stem"], cfg["init_from"], cfg["init_from_sha256"]
    (tmp_path / "args.json").write_text(json.dumps(cfg))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = open_network(tmp_path / "run.ckpt").backbone
    assert stem_of(opened) == stem
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(opened(images), host.backbone(model).eval()(images))


@pytest.mark.parametrize("recipe", sorted(shipped_directory().rglob("recipe.yaml")), ids=str)
def test_shipped_recipes_keep_the_networks_of_their_figures(recipe):
    """Before the option, the dataset's name decided."""
    register_resolvers()
    search = f"hydra.searchpath=[file://{shipped_directory()}]"
    with initialize_config_dir(str(recipe.parent), version_base="1.2"):
        cfg = compose("vicreg", overrides=[search, "data.train_path=somewhere"])
    sizes = [block.crop_size for block in cfg.augmentations]
    stem = with_crops(resolve(cfg), sizes, [2] * len(sizes), 3).backbone.stem
    assert stem == stem_of_dataset(cfg.data.dataset)
