import pytest
import torch
from PIL import Image

from mast_plugin.augmentation import Augmentation
from mast_plugin.plan import Plan
from mast_plugin.report.routes import draw_routes
from mast_plugin.route import RoutePolicy


@pytest.mark.parametrize("types", [("crop",), ("crop", "hue", "horizontal_flip", "grayscale")])
def test_picture_is_written_repeats_and_leaves_randomness_alone(types, tmp_path):
    plan = Plan(32, tuple(Augmentation(name, 0.5) for name in types))
    image = Image.effect_mandelbrot((40, 40), (-2, -1, 1, 1), 20).convert("RGB")
    masks = torch.rand(len(types), 12)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    for name in ("one.png", "two.png"):
        draw_routes(image, plan, RoutePolicy(), masks, tmp_path / name)
    assert torch.equal(torch.get_rng_state(), state)
    first, second = (Image.open(tmp_path / name) for name in ("one.png", "two.png"))
    assert first.tobytes() == second.tobytes()
    assert len(first.convert("RGB").getcolors(2**20)) > 100  # it shows something
