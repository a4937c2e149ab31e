"""Convolutions whose kernel covers the whole map, as the matrix products that they are.

A ResNet with the ImageNet stem turns a 32 px image into maps of 2 x 2 and then 1 x 1 pixels, on
which most taps of a 3 x 3 kernel read nothing but padding. A CPU's convolution multiplies by that
padding all the same. Where every pixel that goes out sees every pixel that comes in, one matrix
leads from these to those, without padding. The result is the same up to rounding, and so are the
parameters: their names, shapes and gradients. Source: this project's choice.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def compact(network: nn.Module) -> nn.Module:
    """Make plain convolutions cheap on tiny maps; everything else stays as it is.

    Args:
        network: changed in place; its parameters and its state dictionary keep their names.

    Returns:
        The same network.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = SmallMapConv2d
    return network


class SmallMapConv2d(nn.Conv2d):
    """A convolution without groups, dilation or bias, padded by zeros; see the module."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        (height, width), (down, across) = input.shape[2:], self.stride
        rows = _windows(height, self.kernel_size[0], down, int(self.padding[0]))
        columns = _windows(width, self.kernel_size[1], across, int(self.padding[1]))
        if input.device.type != "cpu" or not (rows and columns):
            return F.conv2d(input, weight, bias, self.stride, self.padding)
        return _matrix_product(input, weight, rows, columns)


def _is_plain(convolution: nn.Conv2d) -> bool:
    return (
        convolution.groups == 1
        and convolution.dilation == (1, 1)
        and convolution.bias is None
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
    )


def _windows(side: int, kernel: int, stride: int, padding: int) -> list[slice]:
    """The taps, along one axis, that every pixel going out lays on the ``side`` pixels coming in.

    Empty where some pixel does not see all of them.
    """
    last = (side + 2 * padding - kernel) // stride
    if padding + side > kernel or padding < stride * last:
        return []
    starts = (padding - stride * out for out in range(last + 1))
    return [slice(start, start + side) for start in starts]


def _matrix_product(
    images: Tensor, weight: Tensor, rows: list[slice], columns: list[slice]
) -> Tensor:
    """Convolve images (N, I, H, W) by a kernel (O, I, h, w): (N, O, H', W'), channels last."""
    taps = weight.permute(0, 2, 3, 1)
    matrix = torch.stack([taps[:, row, column] for row in rows for column in columns])
    pixels = images.permute(0, 2, 3, 1).flatten(1)  # (N, H W I)
    product: Tensor = pixels @ matrix.flatten(2).flatten(0, 1).T
    return product.view(len(images), len(rows), len(columns), -1).permute(0, 3, 1, 2)
