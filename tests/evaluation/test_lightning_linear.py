"""solo-learn's own linear evaluation on a frozen backbone."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import resnet18

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.protocols.lightning_linear import (
    LinearOptions,
    lightning_linear_measurements,
)

SIZE = 16
VIEW = ViewStatistics(SIZE)


def table_of(root, classes: int, images: int = 20) -> TaskTable:
    """Noisy images in one of several shades; the task is which."""
    rng, files, labels = np.random.default_rng(0), [], []
    for number in range(2 * images * classes):
        label = number % classes
        shade = (255 * np.array([label / (classes - 1), 1 - label / (classes - 1), 0.5])).round()
        pixels = shade + rng.normal(0, 20, (18, 20, 3))
        files.append(root / f"{number}.png")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1])
        labels.append(label)
    half = images * classes
    names = tuple(str(label) for label in range(classes))
    task = Task("shade", names, torch.tensor(labels[:half]), torch.tensor(labels[half:]))
    return TaskTable(tuple(files[:half]), tuple(files[half:]), (task,))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("shades"), classes=3)


class Pooled(nn.Module):
    """Mean colours through a batch normalisation, whose statistics must not move."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, images):
        return self.norm(images.mean((2, 3)))[:, :, None, None]


def test_an_easy_task_is_learned_and_the_backbone_is_left_alone(host, table, capfd):
    backbone = Pooled().train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    random_state = torch.get_rng_state()
    given = LinearOptions(epochs=20, batch_size=20, lr=5.0)
    rows = lightning_linear_measurements(backbone, table, VIEW, given)
    assert [(row.space, row.protocol, row.subject, row.metric) for row in rows] == [
        ("backbone", "lightning-linear", "shade", "top1"),
        ("backbone", "lightning-linear", "shade", "mean_per_class"),
    ]
    assert rows[0].value > 95 and rows[0].chosen == {}
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert backbone.training and all(p.requires_grad for p in backbone.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert capfd.readouterr() == ("", "")


def test_without_training_it_is_at_chance(host, table):
    """The classifier that is scored is the one that was trained."""
    given = LinearOptions(epochs=1, lr=0.0)
    rows = lightning_linear_measurements(Pooled(), table, VIEW, given)
    assert rows[0].value < 80


def test_the_seed_decides(host, table):
    given = LinearOptions(epochs=1, batch_size=30, lr=0.0)

    def top1(seed):
        return lightning_linear_measurements(Pooled(), table, VIEW, given, seed=seed)[0].value

    assert top1(3) == top1(3)
    assert len({top1(seed) for seed in range(4)}) > 1


def test_top5_is_measured_where_there_are_more_classes(host, tmp_path):
    many = table_of(tmp_path, classes=7, images=4)
    rows = lightning_linear_measurements(Pooled(), many, VIEW, LinearOptions(epochs=2))
    assert [row.metric for row in rows] == ["top1", "top5", "mean_per_class"]


def test_a_residual_network_of_the_hosts(host, table):
    network = resnet18()
    network.fc = nn.Identity()
    given = LinearOptions(epochs=1, batch_size=30)
    (top1, _) = lightning_linear_measurements(network, table, VIEW, given)
    assert 0 <= top1.low <= top1.value <= top1.high <= 100


def test_the_hosts_model_is_frozen_and_its_rate_falls_twice(host):
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 6))
    backbone.num_features = 6
    model = host.linear_model(
        backbone,
        num_classes=5,
        max_epochs=10,
        batch_size=8,
        lr=0.5,
        weight_decay=0.25,
        lr_decay_epochs=[6, 8],
    )
    assert not any(p.requires_grad for p in backbone.parameters())
    (optimizer,), (schedule,) = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 0.25)
    rates = []
    for _ in range(10):
        rates.append(round(group["lr"], 6))
        optimizer.step()
        schedule.step()
    assert rates == 6 * [0.5] + 2 * [0.05] + 2 * [0.005]


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}])
def test_impossible_options_are_refused(changes):
    with pytest.raises(ConfigurationError, match="must be at least 1"):
        LinearOptions(**changes)


def test_a_divergence_is_refused(host, table):
    given = LinearOptions(epochs=3, lr=1e38, weight_decay=1e38)
    with pytest.raises(DataError, match="the linear classifier of shade diverged: lower its lr"):
        lightning_linear_measurements(Pooled(), table, VIEW, given)
