import pytest
import torch
from PIL import Image

from mast_plugin.core.route import RoutePolicy
from mast_plugin.report.routes import draw_routes
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.plan import Plan


@pytest.mark.parametrize("types", [("crop",), ("crop", "hue", "horizontal_flip", "grayscale")])
@pytest.mark.slow
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


@pytest.mark.slow
def test_every_row_shows_its_pair_and_where_that_is_compared(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr("matplotlib.pyplot.close", kept.append)
    types = ("crop", "hue", "grayscale")
    plan = Plan(16, tuple(Augmentation(name, 1.0) for name in types))
    masks = torch.rand(3, 12, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1
    image = Image.effect_mandelbrot((20, 20), (-2, -1, 1, 1), 20).convert("RGB")
    draw_routes(image, plan, RoutePolicy(), masks, tmp_path / "routes.svg")
    (figure,) = kept
    strips = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("compared")]
    below = next(axes for axes in figure.axes if axes.get_title() == "masks")
    shown = torch.tensor(below.images[0].get_array())  # the masks, their dimensions in order
    assert [label.get_text() for label in below.get_yticklabels()] == list(types)
    assert sorted(shown.T.tolist()) == sorted(masks.T.tolist())
    routes = set()
    for strip in strips:
        active = strip.get_title(loc="left").removeprefix("compared for ").split(", ")
        routes.add(tuple(active))
        weights = torch.stack([shown[types.index(name)] for name in active]).square().prod(0)
        drawn = torch.tensor(strip.images[0].get_array())[0]
        torch.testing.assert_close(drawn, weights / weights.max())
    assert types in routes and len(routes) == len(strips) > 1
