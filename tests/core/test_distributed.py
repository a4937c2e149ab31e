"""Processes with different data compute the loss of the joined batch."""

from pathlib import Path

import pytest
import torch

from ..launch import launch_ranks
from . import rank_loss
from .tolerances import TOLERANCE

pytestmark = pytest.mark.slow

WORLDS = (2, 3)


@pytest.fixture(scope="module", params=WORLDS)
def results(request, tmp_path_factory):
    """What each of two or three processes found."""
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    launch_ranks(Path(__file__).with_name("rank_loss.py"), request.param, folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def alone(world):
    """One process on the joined batch."""
    head = rank_loss.make_head()
    loss = rank_loss.loss_of(head, *rank_loss.make_batch(world))
    loss.backward()
    return loss.detach(), rank_loss.gradients(head)


def test_every_process_has_the_loss_of_the_joined_batch(results):
    expected, _ = alone(len(results))
    for result in results:
        torch.testing.assert_close(result["loss"], expected, **TOLERANCE[torch.float64])


def test_every_gradient_is_that_of_the_joined_batch(results):
    _, expected = alone(len(results))
    assert {"mask_logits", "uncertainty.1.weight", "projector.weight"} <= set(expected)
    assert all(gradient.any() for gradient in expected.values())
    for result in results:
        torch.testing.assert_close(result["gradients"], expected, **TOLERANCE[torch.float64])


@pytest.mark.parametrize("world", WORLDS)
def test_the_data_would_show_local_statistics(world):
    head, batch = rank_loss.make_head(), rank_loss.make_batch(world)
    parts = [rank_loss.part(batch, rank) for rank in range(world)]
    assert not parts[0][2][:, rank_loss.IDLE].any() and parts[1][2][:, rank_loss.IDLE].any()
    local = sum(rank_loss.loss_of(head, *part) for part in parts) / world
    assert abs(local / alone(world)[0] - 1) > 0.01


def test_batches_of_different_sizes_are_refused_by_every_process_alike(results):
    (sentence,) = {result["uneven"] for result in results}
    assert "from 5 to 6 images" in sentence and "drop_last=True" in sentence


def test_batches_of_one_size_pass(results):
    assert {result["equal"] for result in results} == {""}
