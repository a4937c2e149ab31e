"""mast_loss against the equations of docs/method.md, written as plain loops in float64."""

import math

import pytest
import torch

from .keywords import mast_loss
from .tolerances import TOLERANCE

TERMS = ("invariance", "variance", "covariance", "capacity", "uncertainty")
SHARE, MIX, BOUNDS = 0.7, 0.6, (0.9, 1.2)


def oracle(z1, z2, masks, route, u):
    """Every term, from 0-dimensional tensors so that autograd gives the gradients."""
    num_images, num_dims = z1.shape
    active = [[k for k in range(len(masks)) if route[i, k]] for i in range(num_images)]

    weights = []
    for i in range(num_images):
        products = []
        for d in range(num_dims):
            product = torch.ones((), dtype=torch.float64)
            for k in active[i]:
                product = product * masks[k, d] ** 2
            products.append(product)
        weights.append([product / sum(products) for product in products])
    error = [
        sum(weights[i][d] * (z1[i, d] - z2[i, d]) ** 2 for d in range(num_dims))
        for i in range(num_images)
    ]

    omega, likelihood = pair_omega(u, active), 0.0
    if u is not None:
        for i in range(num_images):
            if active[i]:
                sigma2 = sum(u[i, k].exp() for k in active[i])
                likelihood = likelihood + error[i].detach() / sigma2 + sigma2.log()

    mean_weight = [sum(row[d] for row in weights) / num_images for d in range(num_dims)]
    mixed = [MIX * weight + (1 - MIX) / num_dims for weight in mean_weight]
    capacity = sum((sum(mask) / num_dims - SHARE) ** 2 for mask in masks)
    return {
        "invariance": sum(omega[i] * error[i] for i in range(num_images)) / num_images,
        "variance": view_variance(z1, mixed) + view_variance(z2, mixed),
        "covariance": view_covariance(z1, mixed) + view_covariance(z2, mixed),
        "capacity": capacity,
        "uncertainty": torch.as_tensor(likelihood / num_images, dtype=torch.float64),
    }


def pair_omega(u, active):
    if u is None:
        return [1.0] * len(active)
    u = u.detach().tolist()
    pairs_of = {k: [i for i, types in enumerate(active) if k in types] for k in range(len(u[0]))}
    mean = {k: sum(u[i][k] for i in pairs) / max(len(pairs), 1) for k, pairs in pairs_of.items()}
    omega = []
    for i, types in enumerate(active):
        ratio = 1.0
        if types:
            typical = sum(math.exp(mean[k]) for k in types)
            ratio = math.sqrt(typical / sum(math.exp(u[i][k]) for k in types))
        omega.append(min(max(ratio, BOUNDS[0]), BOUNDS[1]))
    return [value * len(omega) / sum(omega) for value in omega]


def covariance_of(z, d, e):
    num_images = len(z)
    mean_d, mean_e = sum(z[:, d]) / num_images, sum(z[:, e]) / num_images
    products = ((z[i, d] - mean_d) * (z[i, e] - mean_e) for i in range(num_images))
    return sum(products) / (num_images - 1)


def view_variance(z, weight):
    total = torch.zeros((), dtype=torch.float64)
    for d in range(z.shape[1]):
        std = (covariance_of(z, d, d) + 1e-4).sqrt()
        if std < 1:
            total = total + weight[d] * (1 - std)
    return total


def view_covariance(z, weight):
    num_dims = z.shape[1]
    total = torch.zeros((), dtype=torch.float64)
    for d in range(num_dims):
        for e in range(num_dims):
            if d != e:
                total = total + weight[d] * weight[e] * covariance_of(z, d, e) ** 2
    return num_dims * total


def draw(num_images, num_dims, num_types, *, uncertain):
    generator = torch.Generator().manual_seed(100 * num_images + 10 * num_dims + num_types)
    normal = {"generator": generator, "dtype": torch.float64}
    z1 = torch.randn(num_images, num_dims, **normal)
    z2 = z1 + 0.5 * torch.randn(num_images, num_dims, **normal)
    masks = torch.sigmoid(1 + torch.randn(num_types, num_dims, **normal))
    route = torch.rand(num_images, num_types, generator=generator) < 0.6
    route[0] = True
    route[1] = False  # a pair without any augmentation
    u = 0.3 * torch.randn(num_images, num_types, **normal) if uncertain else None
    inputs = (z1, z2, masks) if u is None else (z1, z2, masks, u)
    for tensor in inputs:
        tensor.requires_grad_()
    return inputs, route


@pytest.mark.parametrize("uncertain", [False, True])
@pytest.mark.parametrize("shape", [(3, 7, 1), (4, 9, 3), (7, 4, 3), (5, 5, 2), (6, 3, 6)])
def test_every_term_and_gradient_follows_the_equations(shape, uncertain):
    inputs, route = draw(*shape, uncertain=uncertain)
    z1, z2, masks, *rest = inputs
    u = rest[0] if rest else None
    expected = oracle(z1, z2, masks, route, u)
    terms = mast_loss(
        z1,
        z2,
        masks=masks,
        route=route,
        log_variance=u,
        subspace_share=SHARE,
        regulariser_mix=MIX,
        min_pair_weight=BOUNDS[0],
        max_pair_weight=BOUNDS[1],
    )
    for name in TERMS:
        ours = getattr(terms, name)
        torch.testing.assert_close(ours, expected[name], **TOLERANCE[torch.float64])
        assert_same_gradients(ours, expected[name], inputs)


def assert_same_gradients(ours, expected, inputs):
    assert ours.requires_grad == expected.requires_grad
    if not ours.requires_grad:
        return
    gradients = (
        torch.autograd.grad(
            term, inputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for term in (ours, expected)
    )
    for ours_, expected_ in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_, expected_, **TOLERANCE[torch.float64])


@pytest.fixture
def by_hand():
    """Two pairs in two dimensions, one type whose squared mask is 4 to 1."""
    return mast_loss(
        torch.tensor([[0.0, 0.0], [2.0, 2.0]]),
        torch.tensor([[1.0, 0.0], [2.0, 2.0]]),
        masks=torch.tensor([[1.0, 0.5]]),
        route=torch.ones(2, 1, dtype=torch.bool),
        log_variance=torch.tensor([[0.0], [math.log(4.0)]]),
        invariance_weight=2.0,
        variance_weight=3.0,
        covariance_weight=5.0,
        capacity_weight=7.0,
        uncertainty_weight=11.0,
    )


HAND_COMPUTED = {
    # Errors are 0.8 and 0; omega is 2^(1/2) and 2^(-1/2), clamped to 1.25 and 0.8, mean 1.025.
    "invariance": (1.25 / 1.025) * 0.8 / 2,
    # W~ is 0.65 and 0.35; the variances are 2 but for the second view's first dimension, 0.5.
    "variance": 0.65 * (1 - math.sqrt(0.5001)),
    # The off-diagonal covariances are 2 and 1.
    "covariance": 2 * 2 * 0.65 * 0.35 * (2**2 + 1**2),
    # The mean mask is 0.75 and should be 0.9.
    "capacity": 0.15**2,
    # 0.8 / 1 + log 1 and 0 / 4 + log 4.
    "uncertainty": (0.8 + math.log(4.0)) / 2,
    "type_error": 0.4,
    "type_log_variance": math.log(4.0) / 2,
}


@pytest.mark.parametrize("name", HAND_COMPUTED)
def test_terms_computed_by_hand(by_hand, name):
    assert getattr(by_hand, name).item() == pytest.approx(HAND_COMPUTED[name], rel=1e-5)


def test_loss_computed_by_hand(by_hand):
    weighted = zip((2, 3, 5, 7, 11), TERMS, strict=True)
    expected = sum(weight * HAND_COMPUTED[name] for weight, name in weighted)
    assert by_hand.loss.item() == pytest.approx(expected, rel=1e-5)


def test_logged_means_cover_the_pairs_on_which_a_type_is_active():
    route = torch.tensor([[True, False, False], [True, True, False]])
    terms = mast_loss(
        torch.tensor([[0.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[1.0, 1.0], [3.0, 3.0]]),
        masks=torch.ones(3, 2),
        route=route,
        log_variance=torch.tensor([[1.0, 9.0, 9.0], [2.0, 4.0, 9.0]]),
    )
    torch.testing.assert_close(terms.type_error, torch.tensor([5.0, 9.0, 0.0]))
    torch.testing.assert_close(terms.type_log_variance, torch.tensor([1.5, 4.0, 0.0]))
