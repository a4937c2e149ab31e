"""How far DALI's images may be from PIL's, and the picture on which it is measured."""

import numpy as np
from PIL import Image

from mast_plugin.views import pil
from mast_plugin.views.plan import Plan

SIZE = 64
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)

# Mean and largest absolute difference to PIL's image, in levels of 8 bits. PIL cuts fractions off
# where DALI rounds (factors), keeps hue and saturation in 8 bits each, rounds after each of six
# passes of its blur, and turns a histogram into a table of whole steps.
TOLERANCE = {
    "crop": (0.5, 5),
    "color_jitter": (2.5, 24),
    "brightness": (0.6, 1),
    "contrast": (0.6, 1),
    "saturation": (0.6, 1),
    "hue": (1.0, 14),
    "grayscale": (0.1, 1),
    "sharpness": (0.6, 1),
    "gaussian_blur": (0.9, 8),
    "solarization": (0, 0),
    "equalization": (1.5, 8),
    "horizontal_flip": (0, 0),
    "rotation": (0.5, 2),
    "shear": (0.5, 2),
    "translation": (0, 0),
    "erasing": (0, 0),
}
# Pixels from the border that are left out: PIL resizes a crop as if nothing lay around it, leaves
# the outermost pixels unsharpened, repeats them once for each pass of its blur, and turns images
# with a hard edge where DALI's is a pixel wide.
MARGIN = {"crop": 4, "sharpness": 1, "gaussian_blur": 6, "rotation": 2, "shear": 2}


def picture(height=SIZE, width=SIZE, seed=0):
    """A smooth colourful image with some noise, without symmetries."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    smooth = np.stack([x, y * y, 0.5 + 0.5 * np.sin(5 * x + 3 * y)], axis=-1)
    return Image.fromarray((20 + 180 * smooth + rng.uniform(0, 40, smooth.shape)).astype(np.uint8))


def away_from_edges(name, drawn, plan):
    """Which pixels do not touch the line where an image ends and the fill colour begins."""
    white = Image.new("RGB", (SIZE, SIZE), (255, 255, 255))
    black = Plan(SIZE, plan.augmentations, (0.0, 0.0, 0.0), STD)
    masks = []
    for numbers in drawn:
        inside = np.asarray(pil.apply(white, name, numbers, black))[..., 0] > 127
        near = np.stack(
            [np.roll(inside, (dy, dx), (0, 1)) for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
        )
        masks.append(near.all(0) | ~near.any(0))
    return np.stack(masks)[..., None]
