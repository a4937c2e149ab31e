from copy import deepcopy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mast_plugin.running.small_map import SmallMapConv2d, compact


def gradients(module, images):
    images = images.clone().requires_grad_()
    output = module(images)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(images.dtype)
    output.backward(weights)
    return output.detach(), [images.grad, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, 1),
        (3, 2, 1),
        (1, 1, 0),
        (1, 2, 0),
        (7, 2, 3),
        (2, 1, 0),
        (3, 1, 2),
        ((3, 1), 1, (1, 0)),
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_value_and_gradients_are_the_convolutions(side, kernel, stride, padding, layout):
    plain = nn.Conv2d(5, 7, kernel, stride, padding, bias=False, dtype=torch.float64)
    images = torch.randn(4, 5, side, side, dtype=torch.float64).to(memory_format=layout)
    if any(side + 2 * p < k for k, p in zip(plain.kernel_size, plain.padding, strict=True)):
        pytest.skip("the kernel is larger than the padded image")
    changed = compact(deepcopy(plain))
    (expected, slopes), (found, found_slopes) = gradients(plain, images), gradients(changed, images)
    torch.testing.assert_close(found, expected)
    for slope, other in zip(found_slopes, slopes, strict=True):
        torch.testing.assert_close(slope, other)


@pytest.mark.parametrize(("side", "dense"), [(1, True), (2, True), (3, False), (8, False)])
def test_only_a_kernel_that_covers_the_whole_map_is_made_dense(side, dense, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "mast_plugin.running.small_map._matrix_product",
        lambda images, weight, *windows: calls.append(1) or images,
    )
    compact(nn.Conv2d(3, 3, 3, padding=1, bias=False))(torch.randn(1, 3, side, side))
    assert bool(calls) == dense


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"dilation": 2},
        {"bias": True},
        {"padding": "same"},
        {"padding_mode": "reflect"},
    ],
)
def test_other_convolutions_stay_as_they_are(options):
    convolution = nn.Conv2d(4, 4, 3, **{"bias": False, "padding": 1, **options})
    assert type(compact(convolution)) is nn.Conv2d


def test_a_network_keeps_its_state_and_its_features():
    torch.manual_seed(0)
    network = resnet18().eval()
    changed = compact(deepcopy(network))
    assert sum(type(module) is SmallMapConv2d for module in changed.modules()) == 20
    assert list(changed.state_dict()) == list(network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(changed(images), network(images), rtol=1e-4, atol=1e-4)
