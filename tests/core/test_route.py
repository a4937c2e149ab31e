import itertools
import math
from typing import get_args

import pytest
import torch

from mast_plugin.core.route import RoutePolicy, RouteScheme
from mast_plugin.errors import ConfigurationError

COUNT = 20_000
LEFT = RoutePolicy(0.3, 0.0, "leave_one_out")


def pattern_probability(policy, pattern):
    """The probability of one route, from the definition."""
    full, active, size = policy.full_prob, policy.active_prob, len(pattern)
    on = sum(pattern)
    if policy.scheme == "leave_one_out":
        others = on == size if size == 1 else (on == size - 1) / size
        return full * all(pattern) + (1 - full) * others
    independent = active**on * (1 - active) ** (size - on) if on else 0.0
    replaced = (1 - active) ** size / size if on == 1 else 0.0
    return full * all(pattern) + (1 - full) * (independent + replaced)


def within_binomial_bounds(hits, count, prob):
    return abs(hits - count * prob) <= 5 * math.sqrt(count * prob * (1 - prob)) + 1e-9


@pytest.mark.parametrize(
    "policy", [RoutePolicy(0.3, 0.4), RoutePolicy(0.0, 0.3), RoutePolicy(), LEFT]
)
def test_every_route_comes_up_as_often_as_defined(policy):
    torch.manual_seed(0)
    routes = policy.draw(COUNT, 3)
    for pattern in itertools.product([False, True], repeat=3):
        hits = (routes == torch.tensor(pattern)).all(dim=1).sum().item()
        assert within_binomial_bounds(hits, COUNT, pattern_probability(policy, pattern))


def test_images_draw_independent_routes():
    torch.manual_seed(0)
    routes = RoutePolicy(0.5, 0.5).draw(2 * COUNT, 1 + 3)[:, 0].view(COUNT, 2)
    patterns = itertools.product([False, True], repeat=4)
    share = sum(pattern_probability(RoutePolicy(0.5, 0.5), each) for each in patterns if each[0])
    assert within_binomial_bounds(routes.all(dim=1).sum().item(), COUNT, share**2)


@pytest.mark.parametrize("policy", [RoutePolicy(1.0, 0.0), RoutePolicy(0.0, 1.0)])
def test_certainty_activates_everything(policy):
    assert policy.draw(1000, 4).all()


def test_no_active_probability_means_exactly_one_type():
    torch.manual_seed(0)
    routes = RoutePolicy(0.0, 0.0).draw(COUNT, 4)
    assert (routes.sum(dim=1) == 1).all()
    for hits in routes.sum(dim=0).tolist():
        assert within_binomial_bounds(hits, COUNT, 0.25)


def test_no_route_is_empty():
    torch.manual_seed(0)
    assert RoutePolicy(0.0, 0.01).draw(COUNT, 5).any(dim=1).all()


@pytest.mark.parametrize("scheme", get_args(RouteScheme))
def test_a_single_type_is_always_active(scheme):
    assert RoutePolicy(0.0, 0.1, scheme).draw(1000, 1).all()


def test_where_one_is_left_out_the_active_probability_plays_no_part():
    torch.manual_seed(0)
    routes = [
        RoutePolicy(0.3, active, "leave_one_out").draw(
            100, 4, generator=torch.Generator().manual_seed(1)
        )
        for active in (0.0, 1.0)
    ]
    assert torch.equal(*routes)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigurationError, match="one of independent, leave_one_out, not 'all'"):
        RoutePolicy(scheme="all")


@pytest.mark.parametrize("num_images", [0, 1, 7])
def test_routes_are_bool_images_by_types(num_images):
    routes = RoutePolicy().draw(num_images, 3)
    assert routes.shape == (num_images, 3)
    assert routes.dtype == torch.bool


def test_a_generator_rules_the_draw_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (
        RoutePolicy(0.5, 0.5).draw(50, 6, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_generator_rules_the_draw_by_default():
    policy = RoutePolicy(0.5, 0.5)
    torch.manual_seed(1)
    first, second = policy.draw(50, 6), policy.draw(50, 6)
    torch.manual_seed(1)
    assert torch.equal(policy.draw(50, 6), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["full_prob", "active_prob"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "half", True, None])
def test_probabilities_outside_their_range_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=rf"{name} must .*\[0, 1\]"):
        RoutePolicy(**{name: value})


def test_no_types_are_refused():
    with pytest.raises(ConfigurationError, match="at least one augmentation type"):
        RoutePolicy().draw(3, 0)
