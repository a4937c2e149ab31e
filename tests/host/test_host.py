import subprocess
import sys
import warnings
from operator import attrgetter

import pytest
import torch

from mast_plugin import register
from mast_plugin.errors import ConfigurationError
from mast_plugin.host import host_kind
from mast_plugin.setting.configuration import resolve, with_crops, with_scaled_rates

pytestmark = pytest.mark.slow


def ready(cfg):
    """Resolve a configuration as far as a method needs it."""
    return with_crops(resolve(cfg), [32], [2], num_classes=3)


def run(program: str, path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{path}", "PATH": ""},
        capture_output=True,
        text=True,
        cwd=path,
    )


def test_registration_is_idempotent(host):
    before = host.METHODS["mast"]
    register()
    assert host.METHODS["mast"] is before


def test_an_unknown_layout_is_refused(tmp_path):
    (tmp_path / "solo").mkdir()
    (tmp_path / "solo" / "__init__.py").touch()
    result = run("from mast_plugin.host import host_kind; host_kind()", tmp_path)
    assert "layout that this plugin does not know" in result.stderr
    assert "pip install --no-deps solo-learn==1.0.2" in result.stderr


def test_a_missing_solo_learn_is_refused(tmp_path):
    program = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'solo' else real(name, *a)\n"
        "from mast_plugin.host import host_kind; host_kind()"
    )
    result = run(program, tmp_path)
    assert "solo-learn is not installed: pip install" in result.stderr


def test_importing_the_host_is_quiet(tmp_path):
    result = run("from mast_plugin.host import load_host; load_host()", tmp_path)
    assert result.returncode == 0 and "Warning" not in result.stderr, result.stderr


@pytest.mark.parametrize(
    "method", ["simclr", "vicreg", "barlow_twins", "byol", "simsiam", "mocov2plus"]
)
def test_built_in_method_is_built_from_the_one_language(method, host, small):
    extra = {
        "simclr": ["+method_kwargs.temperature=0.2"],
        "byol": ["+method_kwargs.pred_hidden_dim=16"],
        "simsiam": ["+method_kwargs.pred_hidden_dim=16"],
        "mocov2plus": ["+method_kwargs.temperature=0.2", "+method_kwargs.queue_size=32"],
    }
    cfg = ready(small("vicreg", f"method={method}", *extra.get(method, [])))
    assert set(cfg.method_kwargs) <= host.method_options(method)
    model = host.build(cfg)
    model.eval()
    out = model(torch.randn(2, 3, 32, 32))
    assert out["feats"].shape == (2, 512) and out["logits"].shape == (2, 3)
    assert host.backbone(model)(torch.randn(1, 3, 32, 32)).shape == (1, 512)


REACHED = {
    "max_epochs": ("max_epochs", 7),
    "accumulate_grad_batches": ("accumulate_grad_batches", 3),
    "optimizer.batch_size": ("batch_size", 6),
    "optimizer.weight_decay": ("weight_decay", 0.125),
    "scheduler.name": ("scheduler", "step"),
    "scheduler.lr_decay_steps": ("lr_decay_steps", [2, 4]),
    "scheduler.warmup_epochs": ("warmup_epochs", 2),
    "knn_eval.enabled": ("knn_eval", True),
    "knn_eval.k": ("knn_k", 3),
    # The host multiplies rates by the accumulated batches.
    "optimizer.lr": ("lr", 0.75),
    "optimizer.classifier_lr": ("classifier_lr", 0.375),
    "scheduler.min_lr": ("min_lr", 0.1875),
    "scheduler.warmup_start_lr": ("warmup_start_lr", 0.09375),
    "momentum.base_tau": ("momentum_updater.base_tau", 0.25),
    "momentum.final_tau": ("momentum_updater.final_tau", 0.5),
    "momentum.classifier": ("momentum_classifier.out_features", 3),
}
"""Option to what the method built from it calls it, and its value there."""


def test_the_options_of_every_method_reach_the_hosts(host, small):
    rates = ("lr", "classifier_lr", "min_lr", "warmup_start_lr")
    values = {key: value / 3 if name in rates else value for key, (name, value) in REACHED.items()}
    values["momentum.classifier"] = True
    overrides = [f"{key}={value}" for key, value in values.items()]
    cfg = ready(small("vicreg", "method=byol", "+method_kwargs.pred_hidden_dim=16", *overrides))
    model = host.build(cfg)
    for option, (name, expected) in REACHED.items():
        assert attrgetter(name)(model) == expected, option


def test_options_of_a_built_in_method_exclude_the_base(host):
    options = host.method_options("vicreg")
    assert {"proj_output_dim", "sim_loss_weight"} <= options
    assert not {"lr", "batch_size", "base_tau_momentum"} & options


@pytest.mark.skipif(host_kind() != "mainline", reason="the release has a default for every option")
def test_a_missing_option_is_named(host, small):
    with pytest.raises(ConfigurationError, match=r"method_kwargs\.temperature is missing"):
        host.build(ready(small("vicreg", "method=simclr")))


@pytest.mark.skipif(host_kind() != "mainline", reason="the release has no such script")
@pytest.mark.parametrize("validated", [True, False])
def test_rates_are_multiplied_as_by_the_hosts_own_script(validated, host, small, image_folder):
    """The online classifier's is, only where there are images to validate it on."""
    from solo.args.pretrain import parse_cfg

    cfg = resolve(small("vicreg", "devices=[0,1]", "num_nodes=3", "optimizer.batch_size=24"))
    cfg.data.val_path = str(image_folder) if validated else None
    theirs, ours = parse_cfg(cfg.copy()).optimizer, with_scaled_rates(cfg, 2 * 3).optimizer
    assert ours.lr == pytest.approx(theirs.lr) != cfg.optimizer.lr
    assert ours.classifier_lr == pytest.approx(theirs.classifier_lr)
    assert (ours.classifier_lr == cfg.optimizer.classifier_lr) != validated


def optimizer_of(model):
    model.scheduler = "none"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.configure_optimizers()


def test_lars_takes_masks_as_they_are_and_scales_the_rest(host, small):
    cfg = ready(
        small(
            "mast",
            "optimizer.name=lars",
            "~optimizer.kwargs.fused",
            "method_kwargs={mask_lr: 0.5}",
            "scheduler.name=none",
        )
    )
    model = host.build(cfg)
    optimizer = optimizer_of(model)
    logits, weight = model.head.mask_parameters[0], model.head.projector[0].weight
    before = {p: p.detach().clone() for p in (logits, weight)}
    for parameter in before:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer.step()
    torch.testing.assert_close(before[logits] - logits, torch.full_like(logits, 0.5 * 0.01))
    step = (before[weight] - weight).abs().mean()
    assert step < 0.1 * cfg.optimizer.lr * 0.01  # eta is 1e-3


def test_masks_and_uncertainty_have_groups_of_their_own_without_decay(host, small):
    model = host.build(ready(small("mast", "optimizer.weight_decay=0.1")))
    groups = {group.get("name"): group for group in optimizer_of(model).param_groups}
    assert groups["masks"]["lr"] == model.options.mask_lr
    assert groups["uncertainty"]["lr"] == model.options.uncertainty_lr
    assert groups["masks"]["weight_decay"] == groups["uncertainty"]["weight_decay"] == 0.0
    assert groups["projector"]["weight_decay"] == 0.1
    optimised = {id(p) for group in groups.values() for p in group["params"]}
    assert optimised == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.filterwarnings("ignore")  # the engines' and the host's own, of a whole run
def test_a_momentum_method_takes_a_step(host, small, tmp_path):
    from mast_plugin.pretrain import pretrain

    overrides = ["method=byol", "+method_kwargs.pred_hidden_dim=16", "momentum.base_tau=0.5"]
    result = pretrain(small("vicreg", *overrides))
    assert 0.5 <= result.metrics["tau"] < 0.9
    assert list(result.folder.glob("*.ckpt"))
