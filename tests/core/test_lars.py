"""LARS against plain arithmetic, in whole trainings, and what it takes over from the hosts'."""

import copy
import warnings

import pytest
import torch

from mast_plugin.core.lars import LARS, unscaled
from mast_plugin.host import host_kind

OPTIONS = {"eta": 0.02, "momentum": 0.9}
ETA, EPS = 0.02, 1e-8


def oracle(p, g, velocity, group, *, clip=False, exclude=False):
    """One step in float64; returns the weights and the velocity."""
    p, g = p.double(), g.double()
    size, slope = float((p * p).sum() ** 0.5), float((g * g).sum() ** 0.5)
    left_alone = group.get("unscaled") or (exclude and p.ndim == 1) or not size or not slope
    if not left_alone:
        rate = ETA * size / (slope + group["weight_decay"] * size + EPS)
        g = (g + group["weight_decay"] * p) * (min(rate / group["lr"], 1) if clip else rate)
    velocity = g if velocity is None else 0.9 * velocity + g
    return p - group["lr"] * velocity, velocity


def watcher(engine, **options):
    """A callback that takes each step by hand and compares."""

    class Watcher(engine.Callback):
        def __init__(self):
            self.velocity, self.before, self.largest, self.steps = {}, {}, 0.0, 0

        def on_before_optimizer_step(self, trainer, module, optimizer, *_):
            self.before = {
                p: (p.detach().clone(), p.grad.clone(), dict(group))
                for group in optimizer.param_groups
                for p in group["params"]
                if p.grad is not None
            }

        def on_train_batch_end(self, trainer, module, *_):
            for p, (before, gradient, group) in self.before.items():
                after, self.velocity[p] = oracle(
                    before, gradient, self.velocity.get(p), group, **options
                )
                # Norms of millions of numbers in single precision are good to about 1e-5.
                wrong, moved = p.detach().double() - after, after - before
                assert wrong.norm() <= 1e-3 * moved.norm() + 1e-6 * before.norm()
                if p.ndim == 4:
                    moved = (p.detach() - before).norm() / before.norm().clamp(min=1e-12)
                    self.largest = max(self.largest, float(moved / group["lr"]))
            self.steps += 1

    return Watcher()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("method", ["mast", "vicreg"])
@pytest.mark.parametrize("clip", [False, True])
def test_steps_of_a_training_are_those_of_lars(method, precision, clip, host, small, monkeypatch):
    """Lightning hands ``step`` a closure: whatever acts before that runs acts on old gradients."""
    from mast_plugin import pretrain

    watch = watcher(host.engine, clip=clip, exclude=True)
    fit = pretrain._fit

    def watched(trainer, *rest):
        trainer.callbacks.append(watch)
        fit(trainer, *rest)

    monkeypatch.setattr(pretrain, "_fit", watched)
    cfg = small(
        method,
        "optimizer.name=lars",
        "~optimizer.kwargs.fused",
        "optimizer.weight_decay=0.001",
        "optimizer.lr=3",
        "scheduler.name=none",
        f"precision={precision}",
        "data.check=false",
        "max_epochs=2",
    )
    cfg.optimizer.kwargs = dict(eta=ETA, clip_lr=clip, exclude_bias_n_norm=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the engine's, of a whole run
        pretrain.pretrain(cfg)
    assert watch.steps == 4
    # Whatever the gradients are, a convolution moves by eta of itself at a step, and momentum.
    assert 0 < watch.largest < 4 * ETA / (3 * 8 / 256 if clip else 1)


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(4))]


def give_gradients(layers):
    for layer in layers:
        layer.grad = torch.randn_like(layer)


def test_weights_or_gradients_of_zero_take_a_plain_step():
    zero = torch.nn.Parameter(torch.zeros(2, 2))
    still = torch.nn.Parameter(torch.ones(2, 2))
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([zero, still], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(zero, torch.full((2, 2), -0.5)) and torch.equal(still, torch.ones(2, 2))


def test_nothing_is_read_from_the_device():
    """Tensors without data have no values that could be read."""
    layer = torch.nn.Parameter(torch.ones(3, 3, device="meta"))
    layer.grad = torch.ones(3, 3, device="meta")
    optimizer = LARS([layer], lr=0.1, weight_decay=0.1, momentum=0.9, clip_lr=True)
    optimizer.step()
    optimizer.step()
    assert layer.device.type == "meta"


@pytest.mark.parametrize(
    "options", [{"nesterov": True}, {"dampening": 0.5}, {"momentum": 0.0}, {"weight_decay": 0.1}]
)
def test_without_scaling_it_is_sgd(options, layers):
    options = {"lr": 0.1, "momentum": 0.9, **options}
    reference = copy.deepcopy(layers)
    if "weight_decay" in options:  # marked groups are not decayed either
        sgd = torch.optim.SGD(reference, **{**options, "weight_decay": 0.0})
    else:
        sgd = torch.optim.SGD(reference, **options)
    ours = LARS([unscaled({"params": layers})], **options)
    for _ in range(3):
        give_gradients(layers)
        for ref, layer in zip(reference, layers, strict=True):
            ref.grad = layer.grad.clone()
        ours.step()
        sgd.step()
    for ref, layer in zip(reference, layers, strict=True):
        torch.testing.assert_close(layer, ref)


def test_a_state_of_the_releases_wrapped_sgd_goes_on(layers):
    """Old checkpoints of the release hold SGD's groups and momentum."""
    sgd = torch.optim.SGD([{"params": layers, "name": "backbone"}], lr=0.1, momentum=0.9)
    give_gradients(layers)
    sgd.step()
    ours = LARS([{"params": layers, "name": "backbone"}], lr=0.7, **OPTIONS)
    ours.load_state_dict(copy.deepcopy(sgd.state_dict()))
    (group,) = ours.param_groups
    assert group["lr"] == 0.1 and group["eta"] == ETA and group["unscaled"] is False
    give_gradients(layers)
    expected = [
        oracle(p.detach(), p.grad, sgd.state[p]["momentum_buffer"].double(), group)[0]
        for p in layers
    ]
    ours.step()
    for layer, after in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer.detach().double(), after, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(host_kind() != "mainline", reason="the release has no optimiser of this kind")
@pytest.mark.parametrize("clip", [False, True])
def test_it_is_the_main_branchs_and_loads_its_states(clip, layers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from solo.utils import lars as theirs_

    reference, options = copy.deepcopy(layers), {**OPTIONS, "clip_lr": clip, "weight_decay": 0.01}
    theirs = theirs_.LARS(reference, lr=0.3, **options)
    ours = LARS(layers, lr=0.3, **options)
    for step in range(4):
        give_gradients(layers)
        for ref, layer in zip(reference, layers, strict=True):
            ref.grad = layer.grad.clone()
        ours.step()
        theirs.step()
        for ref, layer in zip(reference, layers, strict=True):
            torch.testing.assert_close(layer, ref)
        if step == 1:
            ours = LARS(layers, lr=9.0)
            ours.load_state_dict(copy.deepcopy(theirs.state_dict()))


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="momentum above 0"):
        LARS([torch.zeros(1)], momentum=0.0, nesterov=True)
