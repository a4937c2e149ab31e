"""The equivariance term against its equations, and what it teaches."""

import pytest
import torch

from mast_plugin import SubspaceHead
from mast_plugin.core.equivariance import (
    LENGTH_FLOOR,
    DifferencePredictor,
    equivariance_term,
    predicted_difference,
)
from mast_plugin.errors import ConfigurationError

from .keywords import mast_loss
from .tolerances import TOLERANCE

TYPES = torch.tensor([0, 0, 2])  # type 1 has no numbers
EXACT = TOLERANCE[torch.float64]


def draw(num_images=6, num_dims=5):
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, num_images, num_dims, dtype=torch.float64).unbind()
    masks = torch.rand(3, num_dims, dtype=torch.float64)
    predictor = torch.randn(len(TYPES), num_dims, dtype=torch.float64)
    difference = torch.randn(num_images, len(TYPES), dtype=torch.float64)
    route = torch.rand(num_images, 3) < 0.5
    route[0] = False
    inputs = [each.requires_grad_() for each in (z1, z2, masks, predictor)]
    return inputs, difference, route


def oracle(z1, z2, masks, predictor, difference, route):
    of_type = {}
    for number, kind in enumerate(TYPES.tolist()):
        predicted, squared = [], 0.0
        pairs = [i for i in range(len(z1)) if route[i, kind]]
        for i in pairs:
            read = [(1 - masks[kind, d]) * (z1[i, d] - z2[i, d]) for d in range(z1.shape[1])]
            predicted.append(sum(predictor[number, d] * each for d, each in enumerate(read)))
            squared = squared + sum(each**2 for each in read)
        length = (squared / max(len(pairs), 1) + LENGTH_FLOOR) ** 0.5
        errors = [
            (t / length - difference[i, number]) ** 2 for t, i in zip(predicted, pairs, strict=True)
        ]
        of_type.setdefault(kind, []).append(sum(errors) / max(len(pairs), 1))
    means = [sum(values) / len(values) for values in of_type.values()]
    return sum(means) / len(means)


def predict(z1, z2, masks, predictor, route):
    return predicted_difference(z1, z2, 1 - masks, TYPES, predictor, route)


def term(inputs, difference, route):
    return equivariance_term(predict(*inputs, route), difference, TYPES, route)


def test_term_and_gradient_follow_the_equations():
    inputs, difference, route = draw()
    actual, expected = term(inputs, difference, route), oracle(*inputs, difference, route)
    torch.testing.assert_close(actual, expected, **EXACT)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), **EXACT
    )


def test_a_type_that_is_active_nowhere_contributes_nothing():
    inputs, difference, route = draw()
    route[:, 0] = False
    predicted = predict(*inputs, route)[:, 2]
    alone = (predicted - difference[:, 2]).square()[route[:, 2]].mean() / 2
    torch.testing.assert_close(term(inputs, difference, route), alone, **EXACT)


def test_exchanging_the_views_exchanges_what_is_predicted():
    (z1, z2, masks, predictor), _, route = draw()
    forth, back = (predict(*views, masks, predictor, route) for views in ((z1, z2), (z2, z1)))
    torch.testing.assert_close(forth, -back, **EXACT)


def test_what_lies_inside_a_mask_tells_nothing():
    (z1, z2, masks, predictor), _, route = draw()
    assert not predict(z1, z2, torch.ones_like(masks), predictor, route).any()


@pytest.mark.parametrize("scale", [0.1, 1.0, 1e3])
@pytest.mark.parametrize("num_dims", [4, 64, 1024])
def test_what_is_read_has_the_mean_squared_length_one(num_dims, scale):
    torch.manual_seed(0)
    z1, z2 = scale * torch.randn(2, 32, num_dims, dtype=torch.float64)
    outside, route = torch.rand(3, num_dims), torch.rand(32, 3) < 0.5
    predictor = torch.eye(num_dims, dtype=torch.float64)  # so that all that is read is predicted
    types = torch.full((num_dims,), 2)
    predicted = predicted_difference(z1, z2, outside, types, predictor, route)[route[:, 2]]
    mean = predicted.square().sum(dim=1).mean()
    torch.testing.assert_close(mean, torch.ones_like(mean), rtol=0.03, atol=0)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.3, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.004),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("num_dims", [128, 2048, 8192])
def test_one_rate_fits_every_embedding(num_dims, optimizer):
    """Views that differ in one common direction: the steepest case, at the recipes' rates."""
    torch.manual_seed(0)
    difference, route = torch.randn(64, len(TYPES)), torch.ones(64, 3, dtype=torch.bool)
    z1 = torch.randn(64, num_dims)
    z2 = z1 - difference[:, :1] * torch.randn(num_dims).sign() - 0.3 * torch.randn(64, num_dims)
    predictor = torch.nn.Parameter(torch.randn(len(TYPES), num_dims) / num_dims**0.5)
    outside, steps = torch.full((3, num_dims), 0.1), OPTIMIZERS[optimizer]([predictor])
    terms = []
    for _ in range(60):
        predicted = predicted_difference(z1, z2, outside, TYPES, predictor, route)
        terms.append(equivariance_term(predicted, difference, TYPES, route))
        steps.zero_grad()
        (8.0 * terms[-1]).backward()
        steps.step()
    terms = torch.stack(terms).detach()
    assert terms.max() < 4
    assert terms[-1] < 0.8 * terms[0]


def test_views_that_are_alike_have_a_finite_gradient():
    (z1, _, masks, predictor), difference, route = draw()
    value = term([z1, z1, masks, predictor], difference, route)
    gradients = torch.autograd.grad(value, [z1, masks, predictor])
    assert all(each.isfinite().all() for each in gradients)


def test_told_in_float32_under_autocast():
    (z1, z2, masks, predictor), _, route = draw()
    single = [each.detach().float() for each in (z1, z2, masks, predictor)]
    with torch.autocast("cpu", torch.bfloat16):
        predicted = predict(single[0].bfloat16(), single[1].bfloat16(), *single[2:], route)
    assert predicted.dtype == torch.float32
    expected = predict(z1, z2, masks, predictor, route).float()
    torch.testing.assert_close(predicted, expected, **TOLERANCE[torch.bfloat16])


def make_head(**options):
    torch.manual_seed(0)
    sizes = {"features_dim": 4, "hidden_dim": 4, "embedding_dim": 5, "num_types": 3}
    return SubspaceHead(**sizes, difference_types=TYPES.tolist(), **options)


def test_the_head_reads_outside_of_its_masks():
    head = make_head()
    z1, z2 = torch.randn(2, 6, 5).unbind()
    route = torch.rand(6, 3) < 0.5
    expected = predict(z1, z2, head.masks, head.reader.weight, route)
    torch.testing.assert_close(head.predicted_difference(z1, z2, route), expected)


def test_without_masks_the_head_reads_the_whole_embedding():
    head = make_head(masks="none")
    z1, z2 = torch.randn(2, 6, 5).unbind()
    route = torch.ones(6, 3, dtype=torch.bool)
    predicted = head.predicted_difference(z1, z2, route)
    length = (z1 - z2).square().sum(dim=1).mean().sqrt()
    torch.testing.assert_close(
        predicted, (z1 - z2) @ head.reader.weight.T / length, rtol=1e-4, atol=0
    )


def test_a_head_without_differences_predicts_none():
    head = SubspaceHead(features_dim=4, hidden_dim=4, embedding_dim=5, num_types=3)
    route = torch.ones(6, 3, dtype=torch.bool)
    assert head.predicted_difference(torch.randn(6, 5), torch.randn(6, 5), route) is None
    assert not any("reader" in name for name in head.state_dict())


def test_the_head_refuses_a_type_that_it_does_not_have():
    with pytest.raises(ConfigurationError, match=r"\[0, 3\).*\[3\]"):
        SubspaceHead(
            features_dim=4, hidden_dim=4, embedding_dim=5, num_types=3, difference_types=[3]
        )


@pytest.mark.slow
def test_training_pushes_what_tells_a_type_out_of_its_mask():
    """One dimension differs by exactly what type 0 did; its mask lets go of that one alone."""
    torch.manual_seed(0)
    head = make_head(subspace_share=0.8, mask_spread=0.1)
    optimizer = torch.optim.Adam([head.mask_logits, head.reader.weight], 0.05)
    route = torch.ones(64, 3, dtype=torch.bool)
    for _ in range(200):
        difference = torch.randn(64, 3)
        z1 = torch.randn(64, 5)
        z2 = z1.clone()
        z2[:, 1] -= difference[:, :2].mean(1)
        loss = mast_loss(
            z1,
            z2,
            masks=head.masks,
            route=route,
            predicted=head.predicted_difference(z1, z2, route),
            difference=difference,
            difference_types=TYPES,
            subspace_share=0.8,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    masks = head.masks.detach()
    assert masks[0].argmin() == 1
    assert masks[0, 1] < masks[0, [0, 2, 3, 4]].min() - 0.3


def plain_prediction(predictor, first, second):
    """Each pair by itself, one type after the other, both ways round."""
    rows = []
    for a, b in zip(first, second, strict=True):
        there, back = torch.cat([a, b])[None], torch.cat([b, a])[None]
        answers = [(net(there) - net(back)) / 2 for net in predictor.networks]
        rows.append(torch.cat(answers, dim=1))
    return torch.cat(rows)


def test_the_predictor_is_half_the_difference_of_both_orders():
    torch.manual_seed(0)
    predictor = DifferencePredictor(6, TYPES.tolist()).double().eval()
    first, second = torch.randn(2, 5, 6, dtype=torch.float64).unbind()
    found = predictor(first, second)
    assert found.shape == (5, len(TYPES))
    torch.testing.assert_close(found, plain_prediction(predictor, first, second), **EXACT)
    torch.testing.assert_close(predictor(second, first), -found, **EXACT)


def test_the_predictor_has_a_network_for_each_type():
    predictor = DifferencePredictor(6, TYPES.tolist())
    assert [network[-1].out_features for network in predictor.networks] == [2, 1]
    predictor(torch.randn(4, 6), torch.randn(4, 6))[:, 2].sum().backward()
    gradients = [[bool(p.grad.any()) for p in net.parameters()] for net in predictor.networks]
    assert not any(gradients[0]) and all(gradients[1])


def test_the_predictor_teaches_the_features():
    head = make_head(equivariance_on="features", masks="none")
    first, second = torch.randn(2, 6, 4).unbind()
    first.requires_grad_()
    head.predicted_from_features(first, second).square().sum().backward()
    assert first.grad.abs().sum() > 0
    assert head.predicted_difference(first, second, torch.ones(6, 3, dtype=torch.bool)) is None


def test_a_head_that_reads_its_embedding_has_no_predictor():
    assert make_head().predicted_from_features(torch.randn(6, 4), torch.randn(6, 4)) is None
    head = SubspaceHead(
        features_dim=4, hidden_dim=4, embedding_dim=5, num_types=3, equivariance_on="features"
    )
    assert head.predictor is None  # nothing to predict


@pytest.mark.slow
def test_the_predictor_learns_what_differs():
    """The second feature differs by exactly what type 0 did."""
    torch.manual_seed(0)
    predictor = DifferencePredictor(4, TYPES.tolist())
    optimizer = torch.optim.Adam(predictor.parameters(), 0.003)
    route, terms = torch.ones(64, 3, dtype=torch.bool), []
    for _ in range(60):
        difference, first = torch.randn(64, 3), torch.randn(64, 4)
        second = first.clone()
        second[:, 1] -= difference[:, 0]
        predicted = predictor(first, second)
        terms.append((predicted - difference).square().mean(0))
        optimizer.zero_grad()
        equivariance_term(predicted, difference, TYPES, route).backward()
        optimizer.step()
    last = torch.stack(terms[-10:]).detach().mean(0)
    assert last[0] < 0.3  # what can be predicted is
    assert last[2] > 0.7  # and what cannot is not


def options_of(predicted=(6, 3), difference=(6, 3), types=TYPES):
    torch.manual_seed(0)
    return {
        "masks": torch.rand(3, 5),
        "route": torch.ones(6, 3, dtype=torch.bool),
        "predicted": None if predicted is None else torch.randn(predicted),
        "difference": None if difference is None else torch.randn(difference),
        "difference_types": types,
    }


def test_the_loss_adds_the_term_with_its_weight():
    z1, z2 = torch.randn(2, 6, 5).unbind()
    options = options_of()
    terms = mast_loss(z1, z2, **options, equivariance_weight=3.0)
    without = mast_loss(z1, z2, **options_of(None, None, None))
    predicted, difference = options["predicted"], options["difference"]
    expected = equivariance_term(predicted, difference, TYPES, options["route"])
    torch.testing.assert_close(terms.equivariance, expected)
    torch.testing.assert_close(terms.loss, without.loss + 3 * expected)
    assert without.equivariance == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"predicted": None}, "go together"),
        ({"types": None}, "go together"),
        ({"predicted": (6, 2)}, r"predicted must be \(6, 3\), got \(6, 2\)"),
        ({"difference": (5, 3)}, r"difference must be \(6, 3\), got \(5, 3\)"),
        ({"types": TYPES.float()}, r"int64, got \(3,\) torch.float32"),
        ({"types": TYPES[:0]}, r"P >= 1.*got \(0,\)"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    z1, z2 = torch.randn(2, 6, 5).unbind()
    with pytest.raises(ConfigurationError, match=message):
        mast_loss(z1, z2, **options_of(**wrong))
