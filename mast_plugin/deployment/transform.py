"""An image to what a pretrained network expects, exactly as evaluation makes it."""

import os
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image
from torch import Tensor

from mast_plugin.errors import DataError
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.files.document import first_line
from mast_plugin.loading.image import Reading, load_image
from mast_plugin.loading.pixel import PixelError, rgb_of
from mast_plugin.views.torchvision import CentredView


@dataclass(frozen=True)
class ImageTransform:
    """A PIL image, or the path of one, to a normalised float32 tensor (3, size, size).

    The shorter side is resized, the longer one cropped around the centre.

    Attributes:
        size: side of the view in pixels.
        mean: per channel (RGB), subtracted from values in [0, 1].
        std: per channel, what the difference is divided by.
        exif_orientation: turn photographs as their EXIF tag says.
        bit_depth: of images with more than 8 bits a channel, in [8, 32]; ``None``: what their file
            states.
        interpolation: of the resizing; there is one.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    exif_orientation: bool = True
    bit_depth: int | None = None
    interpolation: str = field(default="bicubic", init=False)

    @classmethod
    def of(cls, view: ViewStatistics) -> "ImageTransform":
        """The transform of evaluation's centred view."""
        reading = view.reading
        return cls(view.crop_size, view.mean, view.std, reading.upright, reading.bit_depth)

    @property
    def reading(self) -> Reading:
        """How files become images."""
        return Reading(self.exif_orientation, self.bit_depth)

    @cached_property
    def view(self) -> CentredView:
        """What is done to an image that has been read as RGB."""
        return CentredView(self.size, self.mean, self.std)

    def __call__(self, image: Image.Image | str | os.PathLike[str]) -> Tensor:
        """Read and transform an image.

        Raises:
            DataError: it cannot be read as an image.
        """
        if isinstance(image, Image.Image):
            return self.view(as_rgb(image, self.reading))
        return self.view(load_image(os.fspath(image), self.reading))


def as_rgb(image: Image.Image, reading: Reading, name: str = "the image") -> Image.Image:
    """Turn an image that somebody opened into RGB, as a file would be read.

    Args:
        image: of any mode; left as it is.
        reading: how.
        name: for messages.

    Raises:
        DataError: it cannot be decoded, or its values say no colours.
    """
    try:
        return rgb_of(image, upright=reading.upright, bit_depth=reading.bit_depth)
    except PixelError as error:
        raise DataError(f"{name} cannot be used ({error}): {error.mend}") from error
    except Exception as error:  # a decoder that meets damage raises of any kind
        raise DataError(
            f"{name} cannot be read ({first_line(error)}): repair it or leave it out"
        ) from error
