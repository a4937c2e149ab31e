"""One augmentation with given parameters, as operations of an NVIDIA DALI pipeline.

The counterpart of :mod:`mast_plugin.views.pil`, whose images it reproduces within a few levels of 8
bits; ``tests/loading/test_views_dali.py`` states how many for each type. The operations run on the
CPU and on a GPU alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvidia.dali import fn, ops, types

from mast_plugin.errors import ConfigurationError
from mast_plugin.loading.dali import colour as dali_color
from mast_plugin.loading.dali import geometry as dali_geometry
from mast_plugin.loading.dali.node import Device, Drawn, Node
from mast_plugin.views.plan import Plan


def apply(images: Node, name: str, drawn: Drawn, plan: Plan) -> Node:
    """Applies one augmentation to a batch.

    Args:
        images: RGB, uint8, height x width x channels, on either device; any sizes for a crop,
            ``plan.crop_size`` square for the rest.
        name: the augmentation type.
        drawn: one number per image for each name that :func:`mast_plugin.views.drawing.draw` gives,
            in its units, on the CPU; plain numbers serve as well.
        plan: gives the size that a crop is brought to and the colour of uncovered pixels.

    Returns:
        Images like the given ones, ``plan.crop_size`` square.
    """
    return _APPLY[name](images, drawn, plan)


def refuse_unsupported(plan: Plan, device: Device) -> None:
    """Refuses a plan that cannot be carried out by the installed DALI on a device.

    Raises:
        ConfigurationError: naming the type, what is missing and the alternatives.
    """
    registry: Any = ops
    available = registry.gpu_ops() if device == "gpu" else registry.cpu_ops()
    for name in plan.types:
        if name not in _APPLY:
            raise ConfigurationError(
                f"{name} cannot be applied by DALI: leave it out, or choose "
                "data.format=image_folder"
            )
        missing = [each for each in _OPERATORS.get(name, ()) if each not in available]
        if missing:
            raise ConfigurationError(
                f"the installed DALI has no {missing[0]} on the {device}, which {name} needs: "
                f"leave {name} out, or choose dali.device={'cpu' if device == 'gpu' else 'gpu'} "
                "or data.format=image_folder"
            )


def normalised(images: Node, plan: Plan) -> Node:
    """Floats of mean 0, channels first, as the network takes them."""
    return fn.crop_mirror_normalize(
        images,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[255 * value for value in plan.mean],
        std=[255 * value for value in plan.std],
    )


_OPERATORS: Mapping[str, tuple[str, ...]] = {
    "crop": ("Resize",),
    "color_jitter": ("Brightness", "Contrast", "ColorSpaceConversion", "reductions__Mean"),
    "brightness": ("Brightness",),
    "contrast": ("Contrast", "ColorSpaceConversion", "reductions__Mean"),
    "saturation": ("ColorSpaceConversion",),
    "hue": ("Transpose",),
    "grayscale": ("ColorSpaceConversion",),
    "sharpness": ("Filter",),
    "gaussian_blur": ("GaussianBlur",),
    "equalization": ("Equalize",),
    "horizontal_flip": ("Flip",),
    "rotation": ("WarpAffine", "Slice"),
    "shear": ("WarpAffine", "Slice"),
    "translation": ("Slice",),
    "erasing": ("Erase",),
}
"""DALI's operators, beside arithmetic, that a type is made of on the images' device."""

_APPLY = {**dali_geometry.APPLY, **dali_color.APPLY}
