"""An epoch is the same whenever, and by however many processes, its images are loaded."""

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mast_plugin.core.route import RoutePolicy
from mast_plugin.loading.data import training_images, training_loader
from mast_plugin.loading.repetition import reseeding, seed_of
from mast_plugin.setting.configuration import resolve
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.plan import parse_pair
from mast_plugin.views.torchvision import RoutedViews

TYPES = [{"crop_size": 16, "num_crops": 2, "crop": {}, "horizontal_flip": {}, "grayscale": {}}]


@pytest.fixture
def loader(small):
    def make(*overrides: str, **place: int):
        cfg = resolve(small("mast", "optimizer.batch_size=6", *overrides))
        views = RoutedViews(parse_pair(TYPES), RoutePolicy())
        return training_loader(cfg, training_images(cfg), views, **place)

    return make


def epoch(loader, number: int) -> list[list[torch.Tensor]]:
    """Indices, views, routes and labels of every batch."""
    loader.sampler.set_epoch(number)
    batches = list(loader)
    assert all(isinstance(pair, RoutedPair) for _, pair, _ in batches)
    return [[index, *pair, label] for index, pair, label in batches]


def indices(batches) -> list[int]:
    return [int(index) for batch in batches for index in batch[0]]


def are_equal(one, other) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) for batch in pairs for a, b in zip(*batch, strict=True))


def test_a_resumed_loader_gives_what_one_that_never_stopped_gives(loader):
    steady = loader()
    before = [epoch(steady, 0), epoch(steady, 1)]
    assert are_equal(epoch(loader(), 1), before[1])
    assert not are_equal(*before)


def test_every_epoch_draws_other_views_of_an_image(loader):
    images = loader().dataset
    one, again, other = (images[number, 7][1][0] for number in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("world", [1, 2])
def test_every_epoch_has_an_order_of_its_own_and_every_image_once(world, loader):
    loaders = [loader(num_processes=world, rank=rank) for rank in range(world)]
    orders = [[indices(epoch(each, number)) for each in loaders] for number in range(3)]
    assert len({str(order) for order in orders}) == 3
    assert all(
        sorted(index for part in order for index in part) == list(range(24)) for order in orders
    )
    if world == 2:  # and the processes do not keep their images
        assert len({str(sorted(order[0])) for order in orders}) == 3


def test_every_image_draws_views_of_its_own_in_every_epoch(loader):
    loaded = loader()
    batches = [batch for number in range(2) for batch in epoch(loaded, number)]
    drawn = [str(change.tolist()) for *_, changes, _ in batches for change in changes]
    assert len(drawn) == 2 * 24 == len(set(drawn))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(loader):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more workers than cores
        workers = loader("data.num_workers=2")
    expected = [epoch(loader(), 0), epoch(loader(), 1)]
    assert all(are_equal(epoch(workers, number), expected[number]) for number in (0, 1))


@pytest.mark.slow
def test_an_epoch_that_is_left_early_does_not_leak_into_the_next(loader):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        workers = loader("data.num_workers=1")
    next(iter(workers))
    assert are_equal(epoch(workers, 1), epoch(loader(), 1))


@pytest.mark.slow
def test_nothing_is_loaded_before_the_epoch_is_known(loader):
    """Lightning 2 makes a resumed run's first iterator before it says which epoch it is for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        late = loader("data.num_workers=1")
    iterator = iter(late)
    late.sampler.set_epoch(3)
    index, _, _ = next(iterator)
    assert torch.equal(index, epoch(loader(), 3)[0][0])


def test_loading_leaves_the_networks_generator_alone(loader):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    epoch(loader(), 0)
    assert torch.equal(torch.rand(3), expected)


def test_processes_share_the_images_out(loader):
    parts = [epoch(loader(num_processes=2, rank=rank), 0) for rank in range(2)]
    indices = [{int(i) for index, *_ in part for i in index} for part in parts]
    assert not indices[0] & indices[1]
    assert indices[0] | indices[1] == set(range(24))


@pytest.mark.slow
def test_the_seed_decides_the_order_and_each_images_views(loader):
    one, other = loader(), loader("seed=6")
    assert indices(epoch(one, 0)) != indices(epoch(other, 0))
    views = [each.dataset[0, 7][1][0] for each in (one, other)]
    assert not torch.equal(*views)


class Noting:
    """A module that a Trainer trains, which notes the images of every epoch."""

    def __new__(cls, engine):
        class Module(engine.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer, self.seen = torch.nn.Linear(1, 1), []

            def training_step(self, batch, _):
                index, *_ = batch
                self.seen.append((self.current_epoch, index.tolist()))
                return self.layer(torch.ones(1, 1)).sum()

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), 0.1)

        return Module()


@pytest.mark.filterwarnings("ignore")  # the engine's own, of a whole run
def test_the_engine_says_which_epoch_it_is(host, loader):
    module = Noting(host.engine)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = host.engine.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, enable_model_summary=False, **quiet
    )
    trainer.fit(module, loader())
    for number in range(2):
        seen = [index for at, batch in module.seen if at == number for index in batch]
        assert seen == indices(epoch(loader(), number))


def test_epochs_and_processes_draw_numbers_of_their_own(host):
    """What is drawn beside the images, such as by dropout; a resumed run draws it again."""

    def drawn(epoch, process, seed=5):
        place = SimpleNamespace(current_epoch=epoch, global_rank=process)
        reseeding(host.engine, seed).on_train_epoch_start(place, None)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    with torch.random.fork_rng(devices=[]):
        numbers = [drawn(0, 0), drawn(1, 0), drawn(0, 1), drawn(0, 0, seed=6)]
        assert drawn(0, 0) == numbers[0]
    assert all(len(set(each)) == len(numbers) for each in zip(*numbers, strict=True))


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = {seed_of(5, epoch, index) for epoch in range(20) for index in range(100)}
    assert len(seeds) == 2000 and max(seeds) > 2**31 > min(seeds)


def test_a_constant_rate_stays_one_after_a_resumption(host, small):
    """A saved schedule held a function that was bound to a copy of the optimiser."""
    checkpoint = {"lr_schedulers": [{"last_epoch": 3, "get_lr": len}]}
    reseeding(host.engine, seed=5).on_save_checkpoint(None, None, checkpoint)
    assert checkpoint["lr_schedulers"] == [{"last_epoch": 3}]


def test_a_momentum_network_goes_on_with_its_momentum(host):
    class Module:
        class momentum_updater:  # noqa: N801
            cur_tau = 0.995

    callback, checkpoint = reseeding(host.engine, seed=5), {"lr_schedulers": []}
    callback.on_save_checkpoint(None, Module, checkpoint)
    Module.momentum_updater.cur_tau = 0.99
    callback.on_load_checkpoint(None, Module, checkpoint)
    assert Module.momentum_updater.cur_tau == 0.995
