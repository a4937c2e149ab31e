import pytest
import torch

from mast_plugin.core.meter import SubspaceMeter


def test_means_are_taken_over_pairs_not_over_batches():
    meter = SubspaceMeter(["crop", "hue"])
    meter.update(torch.tensor([3, 0]), error=torch.tensor([1.0, 7.0]))
    meter.update(torch.tensor([1, 2]), error=torch.tensor([5.0, 4.0]))
    values = meter.compute(torch.ones(2, 4))
    assert values["subspace/crop/error"] == pytest.approx((3 * 1 + 1 * 5) / 4)
    assert values["subspace/hue/error"] == pytest.approx(4.0)


def test_masks_are_described_and_the_epoch_forgotten():
    meter = SubspaceMeter(["crop", "hue"])
    meter.update(torch.ones(2), error=torch.ones(2))
    masks = torch.tensor([[1.0, 1.0, 1e-9, 1e-9], [1e-9, 1.0, 1.0, 1e-9]])
    values = meter.compute(masks)
    assert values["subspace/crop/size"] == pytest.approx(0.5)
    assert values["subspace/crop/effective_dimension"] == pytest.approx(2.0)
    assert values["subspace/hue/overlap"] == pytest.approx(0.5)
    meter.update(torch.ones(2), error=torch.full((2,), 9.0))
    assert meter.compute(masks)["subspace/crop/error"] == pytest.approx(9.0)


def test_a_single_type_has_no_overlap():
    meter = SubspaceMeter(["crop"])
    meter.update(torch.ones(1), error=torch.ones(1))
    assert "subspace/crop/overlap" not in meter.compute(torch.ones(1, 4))
