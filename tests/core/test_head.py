"""SubspaceHead: what it computes, what it learns, and how it starts."""

import pytest
import torch

from mast_plugin import SubspaceHead
from mast_plugin.core.loss import mast_loss
from mast_plugin.core.mask import block_masks
from mast_plugin.errors import ConfigurationError

SIZES = {"features_dim": 6, "hidden_dim": 8, "embedding_dim": 10, "num_types": 3}


def make(**options):
    torch.manual_seed(0)
    return SubspaceHead(**(SIZES | options))


def test_embeddings_masks_and_log_variances_have_their_shapes():
    head = make()
    features = torch.randn(4, 6)
    assert head(features).shape == (4, 10)
    assert head.masks.shape == (3, 10)
    assert head.log_variance(features, features).shape == (4, 3)


def test_the_projector_is_vicregs():
    kinds = [type(layer).__name__ for layer in make().projector]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]


@pytest.mark.parametrize("masks", ["learned", "fixed"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.98])
@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_the_mean_mask_starts_at_its_share(masks, share, spread):
    options = {"embedding_dim": 200_000, "num_types": 1, "hidden_dim": 1, "uncertainty": False}
    head = make(masks=masks, subspace_share=share, mask_spread=spread, **options)
    assert head.masks.mean().item() == pytest.approx(share, abs=4 * 0.5 / 200_000**0.5)


def test_the_spread_sets_how_far_logits_differ():
    logits = make(embedding_dim=50_000, mask_spread=0.5, uncertainty=False).mask_logits
    assert logits.std().item() == pytest.approx(0.5, rel=0.02)
    assert not torch.equal(logits[0], logits[1])


def test_without_spread_all_masks_start_at_the_share():
    torch.testing.assert_close(
        make(subspace_share=0.7, mask_spread=0.0).masks, torch.full((3, 10), 0.7)
    )


@pytest.mark.parametrize("masks", ["learned", "fixed"])
def test_masks_may_start_as_blocks(masks):
    head = make(masks=masks, mask_start="blocks", subspace_share=0.8)
    torch.testing.assert_close(head.masks, block_masks(3, 10, 0.8).float())
    assert bool(head.mask_parameters) == (masks == "learned")


def test_without_masks_there_are_no_blocks():
    assert (make(masks="none", mask_start="blocks").masks == 1).all()


def test_seeded_heads_repeat():
    assert torch.equal(make().mask_logits, make().mask_logits)


def test_learned_masks_are_parameters():
    head = make(masks="learned")
    assert [p is head.mask_logits for p in head.mask_parameters] == [True]
    head.masks.sum().backward()
    assert head.mask_logits.grad.all()


def test_fixed_masks_are_saved_but_not_learned():
    head = make(masks="fixed")
    assert head.mask_parameters == []
    assert not head.masks.requires_grad
    assert "mask_logits" in head.state_dict()


def test_fixed_masks_are_nearly_binary():
    masks = make(masks="fixed", embedding_dim=10_000, subspace_share=0.6).masks
    assert ((masks < 0.1) | (masks > 0.9)).float().mean() > 0.75


def test_no_masks_are_exactly_one():
    head = make(masks="none", subspace_share=1.0)
    assert (head.masks == 1).all()
    assert head.mask_parameters == []


def test_masks_are_float32_under_autocast_and_in_half_precision():
    head = make()
    expected = head.masks
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head.masks, expected)
    assert head.bfloat16().masks.dtype == torch.float32


def test_log_variances_ignore_the_order_of_views():
    head = make()
    first, second = torch.randn(4, 6), torch.randn(4, 6)
    there, back = head.log_variance(first, second), head.log_variance(second, first)
    torch.testing.assert_close(there, back)


def test_log_variances_depend_on_how_far_the_views_are_apart():
    head = make()
    middle, half = torch.randn(4, 6), torch.randn(4, 6)
    near = head.log_variance(middle - 0.1 * half, middle + 0.1 * half)
    far = head.log_variance(middle - half, middle + half)
    assert not torch.allclose(near, far, rtol=1e-2, atol=0)


def test_log_variances_start_near_zero():
    head = make(features_dim=512)
    assert head.log_variance(torch.randn(64, 512), torch.randn(64, 512)).abs().max() < 0.1


def test_log_variances_do_not_teach_the_features():
    head = make()
    features = torch.randn(4, 6, requires_grad=True)
    head.log_variance(features, 2 * features).sum().backward()
    assert features.grad is None
    assert all(parameter.grad is not None for parameter in head.uncertainty_parameters)


def test_log_variances_are_float32_under_autocast():
    features = torch.randn(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make().log_variance(features, features).dtype == torch.float32


def test_without_uncertainty_there_is_no_log_variance():
    head = make(uncertainty=False)
    assert head.log_variance(torch.randn(4, 6), torch.randn(4, 6)) is None
    assert head.uncertainty_parameters == []


@pytest.mark.parametrize("masks", ["learned", "fixed", "none"])
@pytest.mark.parametrize("uncertainty", [True, False])
def test_every_parameter_is_in_one_group_and_learns(masks, uncertainty):
    head = make(masks=masks, uncertainty=uncertainty)
    groups = [
        *head.projector.parameters(),
        *head.mask_parameters,
        *head.uncertainty_parameters,
    ]
    assert sorted(map(id, groups)) == sorted(map(id, head.parameters()))
    first, second = torch.randn(16, 6), torch.randn(16, 6)
    mast_loss(
        head(first),
        head(second),
        masks=head.masks,
        route=torch.rand(16, 3) < 0.7,
        log_variance=head.log_variance(first, second),
    ).loss.backward()
    assert all(parameter.grad.any() for parameter in head.parameters())


@pytest.mark.parametrize("masks", ["learned", "fixed", "none"])
def test_no_name_is_mistaken_for_the_backbones(masks):
    # The hosts pick the weights to transfer by these substrings.
    names = list(make(masks=masks).state_dict())
    assert not [name for name in names if "backbone" in name or "encoder" in name]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_types": 0}, "num_types"),
        ({"embedding_dim": 0}, "embedding_dim"),
        ({"subspace_share": 0.0}, "subspace_share"),
        ({"subspace_share": 1.0}, "subspace_share"),
        ({"mask_spread": -1.0}, "mask_spread"),
        ({"masks": "open"}, "masks"),
        ({"mask_start": "stripes"}, "mask_start"),
        ({"mask_start": "blocks", "subspace_share": 0.6}, "subspace_share"),
    ],
)
def test_impossible_options_are_refused(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        make(**wrong)
