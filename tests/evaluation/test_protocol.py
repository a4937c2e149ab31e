"""What every protocol is given: its split, its space, its mask, its views, its seed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mast_plugin.evaluation.features.representation import representations
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.network.opening import Network
from mast_plugin.evaluation.protocols.labelfree import label_free_measurements
from mast_plugin.evaluation.protocols.registry import PROTOCOLS, Context, steps
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.plan import Plan

pytestmark = pytest.mark.slow

SIZE, FEATURES, TRAIN, TEST = 8, 5, 120, 60
FLIP, BRIGHTNESS = Augmentation("horizontal_flip", 0.5), Augmentation("brightness", 1.0)
PLAN = Plan(SIZE, (FLIP, BRIGHTNESS))
SEEN: list[int] = []


class Colours(nn.Module):
    """Mean colours and two mixtures of them: blind to a flip; counts the images in training."""

    num_features = FEATURES

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 2)

    def forward(self, images):
        means = images.mean((2, 3))
        SEEN.append(len(images))
        return torch.cat([means, self.mix(means)], dim=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Test images alone: none of training are there, so that nothing but training may ask."""
    root, rng = tmp_path_factory.mktemp("files"), np.random.default_rng(0)
    paths = [root / f"{number}.png" for number in range(TRAIN + TEST)]
    for path in paths:
        colour = tuple(rng.integers(0, 256, 3).tolist())
        Image.new("RGB", (10, 12), colour).save(path)
    return paths


@pytest.fixture
def context(files):
    """A task of three classes that feature 0 tells; a mask for each type."""
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    labels = torch.arange(TRAIN + TEST) % 3
    features = torch.randn(TRAIN + TEST, FEATURES, generator=rng)
    features[:, 0] += 3 * labels
    masks = torch.ones(2, FEATURES)
    masks[PLAN.types.index(FLIP.name), 0] = (
        1e-6  # the flip's subspace lacks what the classes differ in
    )
    network = Network(Colours(), "colours", "abc", nn.Identity(), masks, plan=PLAN)
    task = Task("a", ("x", "y", "z"), labels[:TRAIN], labels[TRAIN:])
    table = TaskTable(tuple(files[:TRAIN]), tuple(files[TRAIN:]), (task,))
    statistics = ViewStatistics(SIZE, PLAN.mean, PLAN.std)
    return Context(
        network,
        table,
        representations(network),
        statistics,
        features[:TRAIN],
        features[TRAIN:],
        torch.device("cpu"),
        batch_size=16,
        epochs={"lightning-linear": 1, "finetune": 1},
    )


def rows_of(context, protocol):
    return [row for _, step in steps(context, [protocol]) for row in step()]


@pytest.mark.parametrize("protocol", ["linear", "few-shot"])
def test_a_subspace_is_measured_without_what_its_mask_leaves_out(protocol, context):
    rows = rows_of(replace(context, masked=(protocol,)), protocol)
    top1 = {row.space: row.value for row in rows if row.metric == "top1"}
    assert set(top1) == {
        "backbone", "embedding", "subspace horizontal_flip", "subspace brightness"
    }  # fmt: skip
    assert top1["subspace horizontal_flip"] < 45 < 65 < top1["subspace brightness"]
    assert top1["subspace brightness"] == top1["embedding"] == top1["backbone"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_seed_decides_what_every_protocol_draws(protocol, context, host):
    one, again, other = (
        [(row.value, row.low, row.high) for row in rows_of(replace(context, seed=seed), protocol)]
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_label_free_measures_are_of_the_test_images(context):
    found = {
        (row.space, row.metric): row.value
        for row in rows_of(context, "label-free")
        if row.metric != "alignment"
    }
    expected = label_free_measurements("backbone", context.test)
    assert {("backbone", row.metric): row.value for row in expected}.items() <= found.items()


def test_the_alignment_is_that_of_two_views_of_one_image(context):
    """A flip changes nothing of the mean colours, in which any two images differ."""
    flips = Plan(SIZE, (FLIP,))
    same = replace(context, network=replace(context.network, plan=flips), spaces=context.spaces[:1])
    for each, low, high in ((same, 0, 1e-6), (context, 1e-4, 4)):
        rows = rows_of(each, "label-free")
        (alignment,) = (r.value for r in rows if (r.space, r.metric) == ("backbone", "alignment"))
        assert low <= alignment <= high


@pytest.mark.parametrize("protocol", ["knn", "linear", "few-shot", "label-free", "invariance"])
def test_no_protocol_of_frozen_features_opens_a_training_image(protocol, context):
    gone = tuple(path.with_name("gone.png") for path in context.table.train_files)
    assert rows_of(replace(context, table=replace(context.table, train_files=gone)), protocol)


@pytest.mark.parametrize(
    ("protocol", "key"), [("lightning-linear",) * 2, ("finetune-10%", "finetune")]
)
def test_a_protocol_that_trains_does_so_for_the_epochs_that_it_is_given(
    protocol, key, context, host
):
    def seen(epochs):
        SEEN.clear()
        rows_of(replace(context, epochs={key: epochs}), protocol)
        return sum(SEEN)

    (one, two, three) = (seen(epochs) for epochs in (1, 2, 3))
    assert two - one == three - two == {"finetune": 12, "lightning-linear": TRAIN}[key]


@pytest.mark.parametrize("protocol", ["lightning-linear", "finetune-1%", "finetune-10%"])
def test_a_protocol_that_trains_is_told_what_must_not_be_mirrored(protocol, context, host):
    flips = []

    class Recording(ViewStatistics):
        def training(self, *, flip, min_scale=0.08):
            flips.append(flip)
            return super().training(flip=flip, min_scale=min_scale)

    (task,) = context.table.tasks
    table = replace(context.table, tasks=(task, replace(task, name="sided")))
    given = replace(context, table=table, statistics=Recording(SIZE), unmirrored=("sided",))
    rows_of(given, protocol)
    assert flips == [True, False]
