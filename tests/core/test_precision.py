"""Head and loss under autocast to half precision, against float32."""

import pytest
import torch

from mast_plugin import SubspaceHead, mast_loss

from .tolerances import TOLERANCE

NUM_IMAGES, FEATURES, EMBEDDING, TYPES = 64, 48, 96, 5
halves = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


def make_head():
    torch.manual_seed(0)
    head = SubspaceHead(
        features_dim=FEATURES, hidden_dim=128, embedding_dim=EMBEDDING, num_types=TYPES
    )
    for parameter in head.uncertainty_parameters:  # as if it had learned something
        torch.nn.init.normal_(parameter, std=0.1)
    return head


def make_batch():
    generator = torch.Generator().manual_seed(1)
    f1, noise = torch.randn(2, NUM_IMAGES, FEATURES, generator=generator).unbind()
    return f1, f1 + noise / 2, torch.rand(NUM_IMAGES, TYPES, generator=generator) < 0.7


def step(dtype, scale=1.0):
    """Terms and gradients; under autocast the features come in half precision, too."""
    head, (f1, f2, route) = make_head(), make_batch()
    features = [f.to(dtype).requires_grad_() for f in (f1, f2)]
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        terms = mast_loss(
            head(features[0]),
            head(features[1]),
            masks=head.masks,
            route=route,
            log_variance=head.log_variance(*features),
        )
    (terms.loss * scale).backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    return terms, gradients | {"features": features[0].grad}


@halves
def test_every_term_is_that_of_float32(dtype):
    terms, _ = step(dtype)
    expected, _ = step(torch.float32)
    torch.testing.assert_close(terms, expected, **TOLERANCE[dtype])


@halves
def test_the_masks_gradient_is_that_of_float32(dtype):
    actual, expected = step(dtype)[1]["mask_logits"], step(torch.float32)[1]["mask_logits"]
    assert (actual - expected).norm() < TOLERANCE[dtype]["rtol"] * expected.norm()


@halves
def test_every_gradient_is_finite_at_the_scale_that_a_scaler_starts_with(dtype):
    _, gradients = step(dtype, scale=torch.amp.GradScaler("cpu").get_scale())
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(gradient.any() for gradient in gradients.values())


@halves
def test_statistics_are_taken_in_float32(dtype):
    """Squares of these embeddings are beyond float16's range; bfloat16 would round their sums."""
    head, (f1, f2, route) = make_head(), make_batch()
    u = head.log_variance(f1, f2)
    z1, z2 = ((300 * head(f)).to(dtype) for f in (f1, f2))
    expected = mast_loss(z1.float(), z2.float(), masks=head.masks, route=route, log_variance=u)
    with torch.autocast("cpu", dtype=dtype):
        terms = mast_loss(z1, z2, masks=head.masks, route=route, log_variance=u)
    assert expected.covariance.isfinite() and z1.abs().max() > 256
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)
