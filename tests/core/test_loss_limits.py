"""What mast_loss becomes where part of it is switched off, extreme or refused."""

import math
import warnings

import pytest
import torch

from mast_plugin import pair_weights
from mast_plugin.core.uncertainty import uncertainty_term
from mast_plugin.errors import ConfigurationError

from .keywords import mast_loss
from .tolerances import TOLERANCE

TERMS = ("invariance", "variance", "covariance", "capacity", "uncertainty")


def draw(num_images=8, num_dims=12, num_types=3, dtype=torch.float32):
    torch.manual_seed(0)
    z1 = torch.randn(num_images, num_dims, dtype=dtype)
    z2 = z1 + 0.3 * torch.randn(num_images, num_dims, dtype=dtype)
    return (
        z1,
        z2,
        {
            "masks": torch.sigmoid(torch.randn(num_types, num_dims, dtype=dtype) + 1),
            "route": torch.rand(num_images, num_types) < 0.6,
            "log_variance": torch.randn(num_images, num_types, dtype=dtype),
        },
    )


@pytest.fixture(scope="module")
def vicreg_loss():
    with warnings.catch_warnings(record=True):  # the host's dependencies warn of themselves
        warnings.simplefilter("always")
        return pytest.importorskip("solo.losses.vicreg").vicreg_loss_func


@pytest.mark.parametrize("shape", [(16, 64, 5), (64, 16, 5), (32, 32, 1), (2, 3, 2)])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_open_masks_make_vicreg(vicreg_loss, shape, dtype, rel):
    z1, z2, _ = draw(*shape, dtype=dtype)
    inputs = (0.5 * z1).requires_grad_(), (0.8 * z2).requires_grad_()
    num_images, num_dims, num_types = shape
    expected = vicreg_loss(*inputs)
    ours = mast_loss(
        *inputs,
        masks=torch.ones(num_types, num_dims),
        route=torch.ones(num_images, num_types, dtype=torch.bool),
        invariance_weight=25.0,
        capacity_weight=0.0,
    ).loss
    assert ours.item() == pytest.approx(expected.item(), rel=rel)
    for gradient, reference in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(gradient, reference, **TOLERANCE[dtype])


@pytest.mark.parametrize("name", TERMS)
def test_each_weight_scales_its_own_term(name):
    z1, z2, options = draw()
    others = {f"{other}_weight": 0.0 for other in TERMS}
    terms = mast_loss(z1, z2, **options, **{**others, f"{name}_weight": 3.0})
    assert getattr(terms, name).abs() > 1e-3
    assert terms.loss.item() == pytest.approx(3 * getattr(terms, name).item())


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_at_zero_removes_exactly_its_term(name):
    z1, z2, options = draw()
    unit = {f"{other}_weight": 1.0 for other in TERMS}
    terms = mast_loss(z1, z2, **options, **{**unit, f"{name}_weight": 0.0})
    rest = sum(getattr(terms, other).item() for other in TERMS if other != name)
    assert terms.loss.item() == pytest.approx(rest)


def test_a_single_type_weighs_by_its_squared_mask():
    masks = torch.tensor([[1.0, 0.5, 0.25]])
    weights = pair_weights(masks, torch.tensor([[True], [False]]))
    expected = torch.tensor([[16 / 21, 4 / 21, 1 / 21], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(weights, expected)


def test_small_masks_keep_their_ratio():
    weights = pair_weights(torch.tensor([[2e-5, 1e-5]]), torch.tensor([[True]]))
    torch.testing.assert_close(weights, torch.tensor([[0.8, 0.2]]))


def test_a_dimension_outside_one_mask_still_answers_for_the_other_types():
    z1, z2, _ = draw(2, 3)
    z2 = z1 + torch.tensor([1.0, 0.0, 0.0])
    masks = torch.tensor([[1e-6, 1.0, 1.0], [1.0, 1.0, 1.0]])
    route = torch.tensor([[True, False], [False, True]])
    terms = mast_loss(z1, z2, masks=masks, route=route)
    torch.testing.assert_close(terms.type_error, torch.tensor([0.0, 1 / 3]))


def test_without_mix_the_regularisers_ignore_the_masks():
    z1, z2, options = draw()
    masked = mast_loss(z1, z2, **options, regulariser_mix=0.0)
    options["masks"] = torch.ones_like(options["masks"])
    open_ = mast_loss(z1, z2, **options, regulariser_mix=0.5)
    torch.testing.assert_close(masked.variance, open_.variance)
    torch.testing.assert_close(masked.covariance, open_.covariance)


def test_with_full_mix_the_regularisers_see_masked_dimensions_only():
    z1, z2, options = draw()
    options["masks"][:, :4] = 1e-6
    options["route"][:, 0] = True
    terms = mast_loss(z1, z2, **options, regulariser_mix=1.0)
    z1[:, :4] = 0.0  # collapsed, where nobody looks
    hidden = mast_loss(z1, z2, **options, regulariser_mix=1.0)
    torch.testing.assert_close(terms.variance, hidden.variance)
    torch.testing.assert_close(terms.covariance, hidden.covariance)


def test_without_log_variances_all_pairs_weigh_the_same():
    z1, z2, options = draw()
    options["log_variance"] = None
    terms = mast_loss(z1, z2, **options)
    weighted = pair_weights(options["masks"], options["route"]) * (z1 - z2) ** 2
    torch.testing.assert_close(terms.invariance, weighted.sum(dim=1).mean())
    assert terms.uncertainty == 0
    assert not terms.type_log_variance.any()


def test_bounds_at_one_switch_the_pair_weights_off():
    z1, z2, options = draw()
    bounded = mast_loss(z1, z2, **options, min_pair_weight=1.0, max_pair_weight=1.0)
    options["log_variance"] = None
    torch.testing.assert_close(bounded.invariance, mast_loss(z1, z2, **options).invariance)


def test_uncertainty_teaches_the_log_variances_only():
    z1, z2, options = draw()
    inputs = z1, z2, options["masks"], options["log_variance"]
    for tensor in inputs:
        tensor.requires_grad_()
    uncertainty = mast_loss(z1, z2, **options).uncertainty
    *taught, learner = torch.autograd.grad(uncertainty, inputs, allow_unused=True)
    assert taught == [None, None, None]
    assert learner.any()


def test_invariance_does_not_teach_the_log_variances():
    z1, z2, options = draw()
    options["log_variance"].requires_grad_()
    z1.requires_grad_()
    invariance = mast_loss(z1, z2, **options).invariance
    (gradient,) = torch.autograd.grad(invariance, options["log_variance"], allow_unused=True)
    assert gradient is None


def test_the_likelihood_is_best_where_variance_equals_error():
    error = torch.tensor([0.1, 2.0, 30.0])
    u = error.log().unsqueeze(1).requires_grad_()
    uncertainty_term(error, u, torch.ones(3, 1, dtype=torch.bool)).backward()
    torch.testing.assert_close(u.grad, torch.zeros(3, 1), **TOLERANCE[torch.float32])


@pytest.mark.parametrize("u", [-1e6, -20.0, 20.0, 1e6])
def test_runaway_log_variances_are_pulled_back(u):
    log_variance = torch.full((2, 1), u, requires_grad=True)
    route = torch.ones(2, 1, dtype=torch.bool)
    term = uncertainty_term(torch.tensor([0.5, 0.5]), log_variance, route)
    term.backward()
    assert term.isfinite()
    assert log_variance.grad.isfinite().all()
    assert (log_variance.grad.sign() == math.copysign(1, u)).all()


def collapse(z1, z2, options):
    z1[:], z2[:] = 1.0, 1.0


def open_masks(z1, z2, options):
    options["masks"][:] = 1.0


def vanishing_masks(z1, z2, options):
    options["masks"][:] = 0.0


def one_vanishing_dimension(z1, z2, options):
    options["masks"][:, 0] = 1e-44  # subnormal
    options["route"][:] = True


def a_pair_without_types(z1, z2, options):
    options["route"][0] = False


def a_type_without_pairs(z1, z2, options):
    options["route"][:, 0] = False


def no_types_at_all(z1, z2, options):
    options["route"][:] = False


def huge_log_variances(z1, z2, options):
    options["log_variance"] *= 1e6


EXTREMES = [
    collapse,
    open_masks,
    vanishing_masks,
    one_vanishing_dimension,
    a_pair_without_types,
    a_type_without_pairs,
    no_types_at_all,
    huge_log_variances,
]


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("extreme", EXTREMES, ids=lambda extreme: extreme.__name__)
@pytest.mark.parametrize("num_images", [4, 24])
def test_values_and_gradients_stay_finite(extreme, num_images):
    z1, z2, options = draw(num_images)
    extreme(z1, z2, options)
    inputs = z1, z2, options["masks"], options["log_variance"]
    for tensor in inputs:
        tensor.requires_grad_()
    terms = mast_loss(z1, z2, **options, regulariser_mix=1.0)
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either
        terms.loss.backward()
    assert all(term.isfinite().all() for term in terms)
    assert all(tensor.grad.isfinite().all() for tensor in inputs)


def test_collapse_is_pushed_apart_by_the_variance_term_only():
    z = torch.ones(4, 6)
    terms = mast_loss(z, z, masks=torch.ones(2, 6), route=torch.ones(4, 2, dtype=torch.bool))
    assert terms.invariance == 0
    assert terms.covariance == 0
    assert terms.variance.item() == pytest.approx(2 * (1 - 1e-2))


def test_a_pair_without_types_contributes_no_likelihood():
    error, u = torch.tensor([1.0, 1.0]), torch.tensor([[0.7], [0.7]], requires_grad=True)
    uncertainty_term(error, u, torch.tensor([[True], [False]])).backward()
    assert u.grad[0] != 0
    assert u.grad[1] == 0


REFUSALS = {
    "a single pair": ({"z1": torch.ones(1, 4), "z2": torch.ones(1, 4)}, r"\(1, 4\)"),
    "flat embeddings": ({"z1": torch.ones(4)}, r"\(4,\)"),
    "views that differ": ({"z2": torch.ones(3, 5)}, r"z2 .*\(3, 4\).*\(3, 5\)"),
    "no types": ({"masks": torch.ones(0, 4)}, r"masks .*\(0, 4\)"),
    "masks of another width": ({"masks": torch.ones(2, 5)}, r"masks .*\(2, 5\)"),
    "a route of other types": ({"route": torch.ones(3, 1).bool()}, r"route .*\(3, 1\)"),
    "a route of numbers": ({"route": torch.ones(3, 2)}, "route .*float32"),
    "log-variances per pair": ({"log_variance": torch.ones(3)}, r"log_variance .*\(3,\)"),
    "no share": ({"subspace_share": 0.0}, "subspace_share"),
    "too large a share": ({"subspace_share": 1.1}, "subspace_share"),
    "too large a mix": ({"regulariser_mix": 1.5}, "regulariser_mix"),
    "bounds out of order": ({"min_pair_weight": 1.25, "max_pair_weight": 0.8}, "min_pair_weight"),
    "a bound at zero": ({"min_pair_weight": 0.0, "max_pair_weight": 1.0}, "min_pair_weight"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_impossible_arguments_are_refused_with_what_was_received(case):
    arguments = {
        "z1": torch.ones(3, 4),
        "z2": torch.ones(3, 4),
        "masks": torch.ones(2, 4),
        "route": torch.ones(3, 2, dtype=torch.bool),
    }
    wrong, message = REFUSALS[case]
    with pytest.raises(ConfigurationError, match=message):
        mast_loss(**(arguments | wrong))
