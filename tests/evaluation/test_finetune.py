"""Fine-tuning on a share of the labels, against a loop of its own."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.protocols.finetune import (
    PROTOCOLS,
    FinetuneOptions,
    _finetuned,
    finetune_measurements,
)

pytestmark = pytest.mark.slow

SIZE = 16
VIEW = ViewStatistics(SIZE)
SEEN: list[int] = []


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> TaskTable:
    """Images of one colour each; the task is which of three colours it is."""
    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    files: list[Path] = []
    labels = []
    for number in range(90):
        label = number % 3
        colour = rng.integers(0, 60, 3)
        colour[label] += 150
        files.append(root / f"{number}.png")
        Image.new("RGB", (20, 24), tuple(colour.tolist())).save(files[-1])
        labels.append(label)
    task = Task("colour", ("r", "g", "b"), torch.tensor(labels[:60]), torch.tensor(labels[60:]))
    return TaskTable(tuple(files[:60]), tuple(files[60:]), (task,))


class Tiny(nn.Module):
    """Mean colours, mixed by one layer; remembers how many images came by."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.mix = nn.Linear(3, 4, bias=False)

    def forward(self, images):
        SEEN.append(len(images))
        return self.mix(images.mean((2, 3)))


def options(**changes):
    given = {"share": 0.5, "backbone_lr": 0.1, "classifier_lr": 0.4, "epochs": 5}
    return FinetuneOptions(**given | changes)


def test_the_protocols_are_vicregs():
    one, ten = PROTOCOLS["finetune-1%"], PROTOCOLS["finetune-10%"]
    assert (one.share, one.backbone_lr, one.classifier_lr) == (0.01, 0.03, 0.08)
    assert (ten.share, ten.backbone_lr, ten.classifier_lr) == (0.1, 0.01, 0.1)
    assert {(each.epochs, each.weight_decay) for each in (one, ten)} == {(20, 0.0)}


def test_an_easy_task_is_learned_and_the_backbone_is_left_alone(table):
    backbone = Tiny().train()
    before, random_state = backbone.mix.weight.clone(), torch.get_rng_state()
    given = options(epochs=20, batch_size=10, backbone_lr=2.0, classifier_lr=5.0)
    rows = finetune_measurements(backbone, table, VIEW, given)
    assert [(row.space, row.protocol, row.subject, row.metric) for row in rows] == [
        ("backbone", "finetune-50%", "colour", "top1"),
        ("backbone", "finetune-50%", "colour", "mean_per_class"),
    ]
    assert [row.value for row in rows] == [100, 100] and rows[0].chosen == {}
    assert torch.equal(backbone.mix.weight, before) and backbone.training
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize(
    ("share", "batch_size", "steps"), [(0.1, 256, [6]), (0.5, 8, [8, 8, 8]), (0.01, 256, [3])]
)
def test_only_the_labelled_share_is_trained_on(table, share, batch_size, steps):
    """6 of 60; 30 of 60 in full batches; one per class where one in a hundred is none."""
    SEEN.clear()
    given = options(share=share, batch_size=batch_size, epochs=2)
    rows = finetune_measurements(Tiny(), table, VIEW, given)
    width, scoring = SEEN[0], SEEN[1 + 2 * len(steps) :]
    assert width == 1 and SEEN[1 : 1 + 2 * len(steps)] == 2 * steps and sum(scoring) == 30
    assert rows[0].protocol == f"finetune-{100 * share:g}%"


def test_the_steps_are_those_of_a_plain_loop(table):
    """SGD with momentum and a cosine, by hand; crops and flips do nothing to a single colour."""
    given = options(share=1.0, epochs=4, batch_size=60, weight_decay=0.01)
    backbone = Tiny()
    torch.manual_seed(7)
    network = _finetuned(
        backbone, table.train_files, table.tasks[0], VIEW, given, True, "cpu", 0, 0
    )
    mix = Tiny().mix.weight.detach().double().requires_grad_()
    torch.manual_seed(7)
    head = nn.Linear(4, 3)
    weight, bias = (p.detach().double().requires_grad_() for p in head.parameters())
    view = VIEW.centred()
    images = torch.stack([view(Image.open(file)) for file in table.train_files]).double()
    rates = {mix: 0.1 * 60 / 256, weight: 0.4 * 60 / 256, bias: 0.4 * 60 / 256}
    speed = {p: torch.zeros_like(p) for p in rates}
    for step in range(4):
        logits = images.mean((2, 3)) @ mix.T @ weight.T + bias
        loss = -logits.log_softmax(1)[torch.arange(60), table.tasks[0].train].mean()
        gradients = torch.autograd.grad(loss, list(rates))
        for (parameter, rate), gradient in zip(rates.items(), gradients, strict=True):
            speed[parameter] = 0.9 * speed[parameter] + gradient + 0.01 * parameter.detach()
            now = rate * (1 + math.cos(math.pi * step / 4)) / 2
            parameter.data -= now * speed[parameter]
    for found, expected in zip(network.parameters(), (mix, weight, bias), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


def test_the_seed_decides_the_classifier(table):
    """Of all labels, at rates of zero: nothing else is drawn that could change the accuracy."""
    given = options(share=1.0, backbone_lr=0.0, classifier_lr=0.0, epochs=1)

    def top1(seed):
        return finetune_measurements(Tiny(), table, VIEW, given, seed=seed)[0].value

    torch.manual_seed(5)
    assert top1(1) == top1(1)
    assert len({top1(seed) for seed in range(4)}) > 1


def test_the_seed_decides_the_labelled_share(table):
    """Of crops and flips that do nothing to a single colour, in one batch."""
    given = options(share=0.1, epochs=1)

    def weights(seed):
        torch.manual_seed(0)
        rest = (VIEW, given, True, "cpu", 0, seed)
        network = _finetuned(Tiny(), table.train_files, table.tasks[0], *rest)
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.allclose(weights(1), weights(2), atol=1e-4)


def test_a_residual_network_is_finetuned(table):
    from torchvision.models import resnet18

    network = resnet18()
    network.fc = nn.Identity()
    given = options(share=0.2, epochs=1, batch_size=12)
    rows = finetune_measurements(network, table, VIEW, given)
    assert 0 <= rows[0].low <= rows[0].value <= rows[0].high <= 100


def test_frozen_parameters_are_trained_too(table):
    frozen = Tiny().requires_grad_(False)
    given = options(share=1.0, epochs=1)
    torch.manual_seed(0)
    network = _finetuned(frozen, table.train_files, table.tasks[0], VIEW, given, True, "cpu", 0, 0)
    assert not torch.equal(next(network.parameters()), frozen.mix.weight)


class Recording(ViewStatistics):
    """Remembers whether training was allowed to mirror."""

    flips: list[bool] = []  # noqa: RUF012 - shared on purpose

    def training(self, *, flip, min_scale=0.08):
        self.flips.append(flip)
        return super().training(flip=flip, min_scale=min_scale)


def test_nothing_is_mirrored_where_left_and_right_matter(table):
    (task,) = table.tasks
    sided = Task("mirrored", task.classes, task.train, task.val)
    both = TaskTable(table.train_files, table.val_files, (task, sided))
    Recording.flips.clear()
    given = options(epochs=1)
    rows = finetune_measurements(Tiny(), both, Recording(SIZE), given, unmirrored=("mirrored",))
    assert Recording.flips == [True, False]
    assert [row.subject for row in rows[::2]] == ["colour", "mirrored"]


@pytest.mark.parametrize(("flip", "low", "high"), [(False, 0, 0), (True, 60, 140)])
def test_training_views_are_cropped_and_mirrored(flip, low, high):
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], (30, 1, 3))
    view = VIEW.training(flip=flip)
    torch.manual_seed(0)
    views = [view(Image.fromarray(ramp)) for _ in range(200)]
    mirrored = sum(bool(each[0, :, 0].mean() > each[0, :, -1].mean()) for each in views)
    assert low <= mirrored <= high
    assert len({round(float(each.mean()), 3) for each in views}) > 20
    assert all(each.shape == (3, SIZE, SIZE) for each in views)


def test_both_views_are_normalised_by_the_networks_statistics():
    view = ViewStatistics(SIZE, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    white = Image.new("RGB", (20, 24), "white")
    expected = torch.tensor([0.9 / 0.4, 0.8 / 0.5, 0.7 / 0.6]).view(3, 1, 1).expand(3, SIZE, SIZE)
    torch.testing.assert_close(view.centred()(white), expected)
    torch.testing.assert_close(view.training(flip=True)(white), expected)


@pytest.mark.parametrize(
    "changes",
    [{"share": 0.0}, {"share": 1.1}, {"epochs": 0}, {"batch_size": 1}, {"backbone_lr": -1.0}],
)
def test_impossible_options_are_refused(changes):
    with pytest.raises(ConfigurationError, match=r"fine-tuning's .* must"):
        options(**changes)


def test_a_broken_image_is_refused(table, tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    files = (tmp_path / "broken.png",) * 60
    broken = TaskTable(files, table.val_files, table.tasks)
    with pytest.raises(DataError, match=r"broken\.png cannot be read"):
        finetune_measurements(Tiny(), broken, VIEW, options())


def test_a_divergence_is_refused(table):
    with pytest.raises(DataError, match="fine-tuning on colour diverged: lower"):
        finetune_measurements(Tiny(), table, VIEW, options(backbone_lr=1e30, classifier_lr=1e30))
