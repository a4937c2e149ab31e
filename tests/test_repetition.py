"""An epoch is the same whenever, and by however many processes, its images are loaded."""

import warnings

import pytest
import torch

from mast_plugin.configuration import resolve
from mast_plugin.data import training_images, training_loader
from mast_plugin.plan import parse_pair
from mast_plugin.repetition import seed_of
from mast_plugin.route import RoutePolicy
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
    return [[index, *views, label] for index, views, label in loader]


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


def test_the_number_of_workers_changes_nothing(loader):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more workers than cores
        workers = loader("data.num_workers=2")
    expected = [epoch(loader(), 0), epoch(loader(), 1)]
    assert all(are_equal(epoch(workers, number), expected[number]) for number in (0, 1))


def test_an_epoch_that_is_left_early_does_not_leak_into_the_next(loader):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        workers = loader("data.num_workers=1")
    next(iter(workers))
    assert are_equal(epoch(workers, 1), epoch(loader(), 1))


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


def test_the_seed_decides(loader):
    assert not are_equal(epoch(loader(), 0), epoch(loader("seed=6"), 0))


def test_seeds_of_neighbours_have_nothing_in_common():
    seeds = {seed_of(5, epoch, index) for epoch in range(20) for index in range(100)}
    assert len(seeds) == 2000 and max(seeds) > 2**31 > min(seeds)


def test_a_constant_rate_stays_one_after_a_resumption(host, small):
    """A saved schedule held a function that was bound to a copy of the optimiser."""
    from mast_plugin.repetition import reseeding

    checkpoint = {"lr_schedulers": [{"last_epoch": 3, "get_lr": len}]}
    reseeding(host.engine, seed=5).on_save_checkpoint(None, None, checkpoint)
    assert checkpoint["lr_schedulers"] == [{"last_epoch": 3}]


def test_a_momentum_network_goes_on_with_its_momentum(host):
    from mast_plugin.repetition import reseeding

    class Module:
        class momentum_updater:  # noqa: N801
            cur_tau = 0.995

    callback, checkpoint = reseeding(host.engine, seed=5), {"lr_schedulers": []}
    callback.on_save_checkpoint(None, Module, checkpoint)
    Module.momentum_updater.cur_tau = 0.99
    callback.on_load_checkpoint(None, Module, checkpoint)
    assert Module.momentum_updater.cur_tau == 0.995
