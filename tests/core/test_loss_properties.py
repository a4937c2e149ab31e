"""What holds of mast_loss for every batch: symmetries, precision, memory, compilation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mast_plugin import pair_weights
from mast_plugin.core.uncertainty import relative_weights, uncertainty_term

from .keywords import mast_loss
from .tolerances import TOLERANCE

EXACT = TOLERANCE[torch.float64]
BOUNDS = (0.5, 2.0)
repeatable = settings(derandomize=True, deadline=None, max_examples=25)


def batch(num_images, num_dims, num_types, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    z1 = torch.randn(num_images, num_dims, dtype=dtype)
    z2 = z1 + torch.randn(num_images, num_dims, dtype=dtype)
    masks = torch.sigmoid(2 * torch.randn(num_types, num_dims, dtype=dtype))
    u = torch.randn(num_images, num_types, dtype=dtype)
    for tensor in (z1, z2, masks, u):
        tensor.requires_grad_()
    return z1, z2, masks, u, torch.rand(num_images, num_types) < 0.6


def terms_of(z1, z2, masks, u, route, **options):
    return mast_loss(z1, z2, masks=masks, route=route, log_variance=u, **options)


batches = st.builds(
    batch, st.integers(2, 12), st.integers(2, 12), st.integers(1, 5), st.integers(0, 10_000)
)


@repeatable
@given(batches)
def test_the_views_can_be_exchanged(drawn):
    z1, z2, masks, u, route = drawn
    forth, back = terms_of(z1, z2, masks, u, route), terms_of(z2, z1, masks, u, route)
    torch.testing.assert_close(forth, back, **EXACT)
    inputs = z1, z2, masks, u
    torch.testing.assert_close(
        torch.autograd.grad(forth.loss, inputs), torch.autograd.grad(back.loss, inputs), **EXACT
    )


@repeatable
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(drawn, random):
    z1, z2, masks, u, route = drawn
    order = random.sample(range(len(z1)), len(z1))
    shuffled = terms_of(z1[order], z2[order], masks, u[order], route[order])
    straight = terms_of(*drawn)
    torch.testing.assert_close(shuffled, straight, **EXACT)
    inputs = z1, z2, masks, u
    torch.testing.assert_close(
        torch.autograd.grad(shuffled.loss, inputs),
        torch.autograd.grad(straight.loss, inputs),
        **EXACT,
    )


@repeatable
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_types_does_not_matter(drawn, random):
    z1, z2, masks, u, route = drawn
    order = random.sample(range(len(masks)), len(masks))
    straight = terms_of(*drawn)
    shuffled = terms_of(z1, z2, masks[order], u[:, order], route[:, order])
    torch.testing.assert_close(shuffled[:-2], straight[:-2], **EXACT)
    torch.testing.assert_close(shuffled.type_error, straight.type_error[order], **EXACT)
    torch.testing.assert_close(
        shuffled.type_log_variance, straight.type_log_variance[order], **EXACT
    )


@repeatable
@given(batches, st.randoms(use_true_random=False))
def test_the_order_of_dimensions_does_not_matter(drawn, random):
    z1, z2, masks, u, route = drawn
    order = random.sample(range(z1.shape[1]), z1.shape[1])
    shuffled = terms_of(z1[:, order], z2[:, order], masks[:, order], u, route)
    torch.testing.assert_close(shuffled, terms_of(*drawn), **EXACT)


@repeatable
@given(batches, st.floats(0.01, 1.0))
def test_masks_shrunk_together_change_the_capacity_only(drawn, factor):
    z1, z2, masks, u, route = drawn
    torch.testing.assert_close(
        pair_weights(factor * masks, route), pair_weights(masks, route), **EXACT
    )
    shrunk = terms_of(z1, z2, factor * masks, u, route, capacity_weight=0.0)
    torch.testing.assert_close(shrunk.loss, terms_of(*drawn, capacity_weight=0.0).loss, **EXACT)


@repeatable
@given(batches)
def test_pair_weights_share_out_one(drawn):
    _, _, masks, _, route = drawn
    weights = pair_weights(masks, route)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(route)).double(), **EXACT)


@repeatable
@given(batches, st.floats(-1e3, 1e3))
def test_gradients_at_exact_collapse_are_finite(drawn, level):
    _, _, masks, u, route = drawn
    z = torch.full((len(route), masks.shape[1]), level, dtype=torch.float64, requires_grad=True)
    terms_of(z, z, masks, u, route).loss.backward()
    assert all(tensor.grad.isfinite().all() for tensor in (z, masks, u))


@repeatable
@given(batches)
def test_relative_weights_have_mean_one_and_bounded_ratios(drawn):
    *_, u, route = drawn
    omega = relative_weights(3 * u, route, BOUNDS)
    assert omega.mean().item() == pytest.approx(1)
    assert (omega > 0).all()
    assert omega.max() / omega.min() <= BOUNDS[1] / BOUNDS[0] * (1 + 1e-9)


@repeatable
@given(batches)
def test_relative_weights_compare_a_pair_with_its_types(drawn):
    *_, u, route = drawn
    pairs = route.sum(dim=0).clamp_min(1)
    mean = (u * route).sum(dim=0) / pairs
    share = torch.softmax(torch.where(route, mean, -1e3), dim=1)
    inverse_square = torch.where(route, share * (u - mean).exp(), 0).sum(dim=1)
    expected = torch.where(route.any(dim=1), inverse_square, 1) ** -0.5
    omega = relative_weights(u, route, (1e-9, 1e9))
    torch.testing.assert_close(omega, expected / expected.mean(), **EXACT)


@repeatable
@given(batches, st.floats(-5, 5))
def test_relative_weights_ignore_a_level_common_to_all_types(drawn, shift):
    *_, u, route = drawn
    torch.testing.assert_close(
        relative_weights(u + shift, route, BOUNDS), relative_weights(u, route, BOUNDS), **EXACT
    )


@repeatable
@given(batches)
def test_relative_weights_ignore_each_types_level_where_one_type_is_active(drawn):
    *_, u, route = drawn
    alone = torch.zeros_like(route)
    alone[torch.arange(len(u)), torch.arange(len(u)) % u.shape[1]] = True
    levels = torch.linspace(-4, 4, u.shape[1])
    torch.testing.assert_close(
        relative_weights(u + levels, alone, BOUNDS), relative_weights(u, alone, BOUNDS), **EXACT
    )


@repeatable
@given(batches)
def test_a_type_hard_on_every_image_is_not_silenced(drawn):
    *_, u, route = drawn
    levels = torch.linspace(-4, 4, u.shape[1]).double().expand_as(u)
    omega = relative_weights(levels, route, BOUNDS)
    torch.testing.assert_close(omega, torch.ones_like(omega), **EXACT)


def test_a_more_uncertain_pair_of_the_same_types_weighs_less():
    u = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]])
    omega = relative_weights(u, torch.ones(3, 2, dtype=torch.bool), BOUNDS)
    assert omega[0] > omega[1] > omega[2]


@pytest.mark.parametrize("shape", [(3, 6, 2), (6, 3, 2)])
def test_the_gradient_is_the_derivative(shape):
    z1, z2, masks, _, route = batch(*shape)
    assert torch.autograd.gradcheck(
        lambda z1, z2, masks: mast_loss(z1, z2, masks=masks, route=route)[:5], (z1, z2, masks)
    )


def test_the_likelihoods_gradient_is_the_derivative():
    *_, u, route = batch(5, 2, 3)
    error = torch.rand(5, dtype=torch.float64)
    scale = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)  # the tangent's range included
    assert torch.autograd.gradcheck(lambda u: uncertainty_term(error, scale * u, route), u)


@pytest.mark.parametrize("shape", [(8, 32, 3), (32, 8, 3)])
def test_autocast_changes_nothing(shape):
    drawn = batch(*shape, dtype=torch.float32)
    expected = terms_of(*drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(terms_of(*drawn), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_embeddings_are_widened(dtype):
    z1, z2, masks, u, route = batch(16, 32, 3, dtype=torch.float32)
    halves = [z.detach().to(dtype).requires_grad_() for z in (z1, z2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = terms_of(*halves, masks, u.to(dtype), route)
        terms.loss.backward()
    assert all(term.dtype == torch.float32 for term in terms)
    expected = terms_of(z1, z2, masks, u, route)
    torch.testing.assert_close(terms, expected, **TOLERANCE[torch.bfloat16])
    expected.loss.backward()
    torch.testing.assert_close(halves[0].grad.float(), z1.grad, **TOLERANCE[torch.bfloat16])


def test_double_precision_stays_double():
    assert all(term.dtype == torch.float64 for term in terms_of(*batch(4, 6, 2)))


class Shapes(TorchDispatchMode):
    """Records the size of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.sizes += [x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        return result


@pytest.mark.parametrize("shape", [(8, 40, 5), (40, 8, 5)])
def test_no_tensor_is_larger_than_the_embeddings(shape):
    drawn = batch(*shape)
    with Shapes() as shapes:
        terms_of(*drawn).loss.backward()
    num_images, num_dims, _ = shape
    assert max(shapes.sizes) == num_images * num_dims


@pytest.mark.slow
def test_the_loss_compiles_without_graph_breaks():
    drawn = batch(4, 6, 3)
    compiled = torch.compile(terms_of, fullgraph=True, backend="aot_eager")
    expected, terms = terms_of(*drawn), compiled(*drawn)
    torch.testing.assert_close(terms, expected, **EXACT)
    inputs = drawn[:4]
    torch.testing.assert_close(
        torch.autograd.grad(terms.loss, inputs),
        torch.autograd.grad(expected.loss, inputs),
        **EXACT,
    )
