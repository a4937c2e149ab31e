import re
from dataclasses import fields, replace

import pytest
import torch
from torch.utils.data import DataLoader

from mast_plugin.core.equivariance import equivariance_term
from mast_plugin.core.loss import mast_loss
from mast_plugin.core.options import LossOptions, MASTOptions
from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError
from mast_plugin.host import host_kind
from mast_plugin.loading.choice import chosen_views
from mast_plugin.loading.data import IndexedImages, training_images
from mast_plugin.setting.configuration import resolve, with_crops
from mast_plugin.views.torchvision import RoutedViews

TERMS = ("invariance", "variance", "covariance", "capacity", "uncertainty", "equivariance")
WEIGHTS = [field for field in fields(LossOptions) if re.fullmatch("[a-z]+_weight", field.name)]
CHANGED = {field.name: 0.3 * field.default + 0.1 for field in WEIGHTS} | {
    "proj_hidden_dim": 12,
    "proj_output_dim": 20,
    "masks": "fixed",
    "mask_start": "blocks",
    "subspace_share": 0.6,
    "mask_spread": 0.4,
    "mask_lr": 0.5,
    "uncertainty": False,
    "uncertainty_lr": 0.5,
    "min_pair_weight": 0.99,
    "max_pair_weight": 1.01,
    "full_route_prob": 0.3,
    "active_prob": 0.2,
    "route_scheme": "leave_one_out",
    "equivariance_on": "features",
    "regulariser_mix": 0.9,
}
"""Another value of every option than its default."""
OF_LOSS = [name for name in CHANGED if name.endswith(("_weight", "_share", "_mix"))]


@pytest.fixture
def model(host, small):
    torch.manual_seed(0)
    return host.build(with_crops(resolve(small("mast")), [32], [2], num_classes=3))


@pytest.fixture
def batch(model, small):
    cfg = resolve(small("mast"))
    torch.manual_seed(1)
    images = IndexedImages(training_images(cfg), RoutedViews(model.plan, model.routes), False)
    return next(iter(DataLoader(images, batch_size=12)))


@pytest.fixture
def built(host, small):
    """A model with options other than the defaults, and an uncertainty that depends on the pair."""

    def build(options):
        overrides = [f"method_kwargs.{name}={value}" for name, value in options.items()]
        cfg = with_crops(resolve(small("mast", *overrides)), [32], [2], num_classes=3)
        torch.manual_seed(0)
        model = host.build(cfg)
        torch.manual_seed(2)
        for parameter in model.head.uncertainty_parameters:
            torch.nn.init.normal_(parameter, std=0.1)
        return model

    return build


def loss_of(model):
    """Of one batch of features, route and difference; the same whatever the model."""
    draw = torch.Generator().manual_seed(3)
    feats = [torch.randn(12, 512, generator=draw) for _ in range(2)]
    route = torch.rand(12, len(model.plan.types), generator=draw) < 0.7
    difference = torch.randn(12, 10, generator=draw)
    return float(
        model._terms(feats, [model.head(each) for each in feats], route, difference).loss.detach()
    )


def test_forward_keeps_the_contract_of_the_host(model):
    out = model(torch.randn(4, 3, 32, 32))
    assert out["logits"].shape == (4, 3)
    assert out["feats"].shape == (4, 512)
    assert out["z"].shape == (4, 24)


def test_no_parameter_of_ours_is_mistaken_for_the_backbone(model):
    ours = [name for name, _ in model.named_parameters() if name.startswith("head.")]
    assert ours and not any("backbone" in name or "encoder" in name for name in ours)


def test_training_step_is_the_loss_of_the_outputs_with_the_options(built, batch):
    model = built({name: CHANGED[name] for name in OF_LOSS})
    logged = {}
    model.log_dict = lambda values, **_: logged.update(values)
    outputs = {}
    original = model.head.forward
    model.head.forward = lambda f: outputs.setdefault(len(outputs), (f, original(f)))[1]
    model.knn_eval = False
    loss = model.training_step(batch, 0)
    (f1, z1), (f2, z2) = outputs[0], outputs[1]
    o = model.options
    expected = mast_loss(
        z1,
        z2,
        masks=model.head.masks,
        route=batch[1].route,
        log_variance=model.head.log_variance(f1, f2),
        predicted=model.head.predicted_difference(z1, z2, batch[1].route),
        difference=batch[1].difference,
        difference_types=model.head.difference_types,
        options=LossOptions(**{each.name: getattr(o, each.name) for each in fields(LossOptions)}),
    )
    torch.testing.assert_close(loss, expected.loss + logged["train_class_loss"])
    for name in TERMS:
        torch.testing.assert_close(logged[f"mast/{name}"], getattr(expected, name).detach())


def test_every_option_is_changed_below():
    assert {field.name for field in fields(MASTOptions)} == set(CHANGED)
    assert not {field.name for field in fields(MASTOptions) if field.default == CHANGED[field.name]}


def trained_by(model):
    """The loss, and with what its gradients are followed: all that an option can change."""
    groups = [
        (group.get("name"), group.get("lr"), [parameter.shape for parameter in group["params"]])
        for group in model.learnable_params
    ]
    return loss_of(model), groups, model.routes


def test_the_same_options_are_the_same_loss_and_model(built):
    assert trained_by(built({})) == trained_by(built({}))


@pytest.mark.parametrize("option", CHANGED)
def test_every_option_changes_the_loss_or_the_model(option, built):
    assert trained_by(built({option: CHANGED[option]})) != trained_by(built({}))


@pytest.mark.parametrize("option", OF_LOSS)
def test_every_option_of_the_loss_reaches_it(option, built):
    """In one and the same model: some of these options shape its masks as well."""
    model = built({})
    default = loss_of(model)
    model.options = replace(model.options, **{option: CHANGED[option]})
    assert loss_of(model) != default


def test_the_views_of_a_run_are_drawn_by_the_routes_of_its_method(built, small):
    options = {name: CHANGED[name] for name in ("full_route_prob", "active_prob")}
    cfg = small("mast", *(f"method_kwargs.{name}={value}" for name, value in options.items()))
    views, model = chosen_views(resolve(cfg)).transform, built(options)
    assert views.policy == model.routes == RoutePolicy(0.3, 0.2)
    assert views.plan == model.plan


def test_every_parameter_learns(model, batch):
    model.log_dict = lambda *_, **__: None
    model.training_step(batch, 0).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The last layer of the uncertainty head starts at zero, so nothing reaches those before it yet.
    assert all(name.startswith("head.uncertainty") for name in idle), idle


def test_epoch_end_logs_every_subspace(model, batch):
    logged = {}
    model.log_dict = lambda values, **_: logged.update(values)
    model.training_step(batch, 0)
    model.on_train_epoch_end()
    measures = ("size", "effective_dimension", "overlap", "error", "log_variance")
    for kind in model.plan.types:
        assert {f"subspace/{kind}/{measure}" for measure in measures} <= set(logged)


def test_a_batch_without_route_is_refused(model, batch):
    index, views, label = batch
    with pytest.raises(ConfigurationError, match="two views, their route and their difference"):
        model.training_step([index, views[:2], label], 0)


def test_a_text_of_devices_is_refused_outside_of_our_entry(host, small):
    cfg = with_crops(resolve(small("mast", "devices=auto")), [32], [2], num_classes=3)
    cfg.entry = "elsewhere"
    with pytest.raises(ConfigurationError, match="length of the text 'auto'"):
        host.build(cfg)


def test_the_weights_of_vicregs_recipe_weigh_what_they_weighed_there(host, small):
    """With all masks at one, the rest of the loss is solo-learn's VICReg with these weights."""
    from solo.losses.vicreg import vicreg_loss_func

    weights = {"sim_loss_weight": 7.0, "var_loss_weight": 11.0, "cov_loss_weight": 3.0}
    overrides = [f"+method_kwargs.{name}={value}" for name, value in weights.items()]
    overrides += [f"~method_kwargs.{name}_weight" for name in ("invariance", "variance")]
    overrides += ["~method_kwargs.covariance_weight", "method_kwargs.masks=none"]
    overrides += ["method_kwargs.uncertainty=false", "method_kwargs.equivariance_weight=0"]
    cfg = with_crops(resolve(small("mast", *overrides)), [32], [2], num_classes=3)
    model = host.build(cfg)
    z1, z2 = torch.randn(2, 16, 24).unbind()
    route = torch.ones(16, 5, dtype=torch.bool)
    features = list(torch.randn(2, 16, 512).unbind())
    terms = model._terms(features, [z1, z2], route, torch.zeros(16, 0))
    torch.testing.assert_close(terms.loss, vicreg_loss_func(z1, z2, **weights))


@pytest.mark.parametrize(("masks", "uncertainty"), [("fixed", True), ("none", False)])
def test_ablations_train(masks, uncertainty, host, small):
    overrides = [f"method_kwargs.masks={masks}", f"method_kwargs.uncertainty={uncertainty}"]
    cfg = with_crops(resolve(small("mast", *overrides)), [32], [2], num_classes=3)
    model = host.build(cfg)
    names = {group.get("name") for group in model.learnable_params}
    assert "masks" not in names and ("uncertainty" in names) == uncertainty


def test_augselfs_form_is_vicreg_and_its_predictor(built):
    """Masks at one, no uncertainty, and the difference predicted from the features: two terms."""
    options = {"masks": "none", "uncertainty": False, "equivariance_on": "features"}
    model = built(options)
    route = torch.ones(16, len(model.plan.types), dtype=torch.bool)
    features = list(torch.randn(2, 16, 512).unbind())
    z1, z2 = (model.head(each) for each in features)
    difference = torch.randn(16, len(model.head.difference_types))
    terms = model._terms(features, [z1, z2], route, difference)
    predicted = model.head.predictor(*features)
    term = equivariance_term(predicted, difference, model.head.difference_types, route)
    torch.testing.assert_close(terms.equivariance, term)
    plain = mast_loss(z1, z2, masks=model.head.masks, route=route, options=model.options.of_loss)
    assert model.options.equivariance_weight > 0
    torch.testing.assert_close(terms.loss, plain.loss + model.options.equivariance_weight * term)
    assert model.head.reader is None
    groups = {group.get("name"): group["params"] for group in model.learnable_params}
    assert len(groups["predictor"]) == len(list(model.head.predictor.parameters()))


@pytest.mark.filterwarnings("ignore")  # the engine's own, of a whole run
@pytest.mark.skipif(host_kind() != "mainline", reason="the release ships no script of its own")
def test_the_hosts_own_loaders_are_given_our_views(host, small):
    from solo.data.classification_dataloader import prepare_data
    from solo.data.pretrain_dataloader import (
        FullTransformPipeline,
        NCropAugmentation,
        build_transform_pipeline,
        prepare_dataloader,
        prepare_datasets,
    )

    cfg = with_crops(resolve(small("mast")), [32], [2], num_classes=3)
    cfg.entry = "elsewhere"
    cfg.devices = "1"
    model = host.build(cfg)
    pipelines = [
        NCropAugmentation(build_transform_pipeline("custom", block), block.num_crops)
        for block in cfg.augmentations
    ]
    transform = FullTransformPipeline(pipelines)
    dataset = prepare_datasets("custom", transform, train_data_path=cfg.data.train_path)
    loader = prepare_dataloader(dataset, batch_size=8, num_workers=2)
    loader.pin_memory = False
    root = cfg.data.train_path  # validated at 224 px, if the script had its way
    _, validation = prepare_data("custom", root, root, batch_size=8, num_workers=0)
    validation.pin_memory = False
    trainer = host.engine.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_train_batches=1,
    )
    trainer.fit(model, loader, validation)
    assert isinstance(dataset.transform, RoutedViews)
    assert validation.dataset[0][0].shape == (3, 32, 32)
