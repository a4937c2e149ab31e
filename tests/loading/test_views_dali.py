import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError
from mast_plugin.views import pil
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.drawing import draw, ranges
from mast_plugin.views.plan import Plan, pair_of
from mast_plugin.views.torchvision import CentredView

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install 'mast-plugin[dali]'")

from nvidia.dali import Pipeline, fn, ops

from mast_plugin.loading.dali import operation as dali
from mast_plugin.loading.dali.draw import Draws, draw_batch
from mast_plugin.loading.dali.graph import build_pipeline
from mast_plugin.views.difference import ACTIVE

from ..views.levels import MARGIN, MEAN, SIZE, STD, TOLERANCE, away_from_edges, picture

pytestmark = pytest.mark.slow

COUNT = 6
FULL = RoutePolicy(1.0, 0.0)

devices = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
        ),
    ],
)


def plan_of(*augmentations, size=SIZE):
    return Plan(size, augmentations, MEAN, STD)


def always(name, **settings):
    return Augmentation(name, 1.0, settings)


def applied(images, name, drawn, plan, device="cpu"):
    """One augmentation with forced parameters through a pipeline, as integers."""
    names = list(drawn[0])
    numbers = [np.array([each[n] for each in drawn], np.float32) for n in names]
    pipeline = Pipeline(len(images), 1, None if device == "cpu" else 0)
    with pipeline:
        batch = fn.external_source(
            source=lambda: [np.asarray(image) for image in images], batch=True, layout="HWC"
        )
        nodes = (
            fn.external_source(source=lambda: numbers, num_outputs=len(names), batch=True)
            if names
            else []
        )
        batch = batch.gpu() if device == "gpu" else batch
        changed = dali.apply(batch, name, dict(zip(names, nodes, strict=True)), plan)
        pipeline.set_outputs(changed.cpu())
    (output,) = pipeline.run()
    return output.as_array().astype(int)


def differences(name, images, drawn, plan, device="cpu"):
    expected = [pil.apply(i, name, d, plan) for i, d in zip(images, drawn, strict=True)]
    found = applied(images, name, drawn, plan, device)
    return np.abs(found - np.stack([np.asarray(image) for image in expected]).astype(int))


@devices
@pytest.mark.parametrize("name", TYPES)
def test_forced_parameters_give_pils_image(name, device):
    plan, rng = plan_of(always(name)), random.Random(3)
    sizes = [(SIZE + 3 * i, SIZE + 9 * i) if name == "crop" else (SIZE, SIZE) for i in range(COUNT)]
    images = [picture(*size, seed) for seed, size in enumerate(sizes)]
    drawn = [draw(plan.augmentations[0], size, rng) for size in sizes]
    found = differences(name, images, drawn, plan, device)
    if name in ("rotation", "shear"):
        found = found * away_from_edges(name, drawn, plan)
    margin = MARGIN.get(name, 0)
    found = found[:, margin : SIZE - margin, margin : SIZE - margin]
    mean, largest = TOLERANCE[name]
    assert found.mean() <= mean
    assert found.max() <= largest


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.5, 1.3, 4.0])
def test_blur_follows_pil_from_nothing_to_strong(sigma):
    plan = plan_of(always("gaussian_blur", max_sigma_px=5))
    found = differences("gaussian_blur", [picture()], [{"sigma_px": sigma}], plan)
    assert found[:, 16:-16, 16:-16].max() <= 2
    assert found.mean() <= 0.7
    assert found.max() <= 12  # at the border
    assert sigma > 0 or not found.any()


@pytest.mark.parametrize("name", ["rotation", "shear", "translation"])
def test_uncovered_pixels_show_the_mean(name):
    numbers = {"angle_deg": 45, "x_angle_deg": 40, "y_angle_deg": 0, "x_shift": 0.5, "y_shift": 0.5}
    plan = plan_of(always(name))
    drawn = {key: numbers[key] for key in ranges(plan.augmentations[0])}
    corner = applied([picture()], name, [drawn], plan)[0, 0, 0]
    assert tuple(corner) == plan.fill


@pytest.mark.parametrize("turns", [-0.5, -0.2, 0.0, 1 / 3, 0.5])
def test_hue_keeps_each_pixels_extremes_and_comes_round(turns):
    image = picture()
    found = applied([image], "hue", [{"hue_turns": turns}], plan_of(always("hue")))[0]
    given = np.asarray(image).astype(int)
    assert np.abs(found.max(-1) - given.max(-1)).max() <= 1
    assert np.abs(found.min(-1) - given.min(-1)).max() <= 1
    if turns == 0:
        assert (found == given).all()
    if turns == 1 / 3:
        assert np.abs(found - np.roll(given, 1, axis=-1)).max() <= 1


# --- whole pipelines ---------------------------------------------------------------------------


def encoded(image):
    import io

    buffer = io.BytesIO()
    image.save(buffer, "png")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def run(draws, image, count, seed=0):
    """Views (N, 3, S, S) of one image, what was drawn, and the routes."""
    bytes_, rng = encoded(image), np.random.default_rng(seed)
    drawn, route, _ = draws.draw(count, rng)
    pipeline = build_pipeline(
        draws,
        lambda fed: fed,
        lambda: [[bytes_] * count, *drawn.values()],
        device="cpu",
        batch_size=count,
        num_threads=1,
        device_id=None,
        prefetch_queue_depth=1,
    )
    outputs = pipeline.run()[: len(draws.plans)]
    return [torch.from_numpy(np.array(o.as_tensor())) for o in outputs], drawn, route


def pair(plan, policy=FULL):
    return Draws((plan, plan), policy)


def centred(image):
    return CentredView(SIZE, MEAN, STD)(image)


def same(views, reference, levels=1):
    """Which of the views show the reference, up to some levels of 8 bits."""
    return (views - reference).abs().flatten(1).amax(1) <= levels / 255 / min(STD) + 1e-5


def within_binomial_bounds(hits, count, prob):
    return abs(hits - count * prob) <= 5 * math.sqrt(count * prob * (1 - prob))


def test_inactive_types_are_off_on_both_views():
    names = ("grayscale", "solarization", "horizontal_flip")
    image, plan = picture(), plan_of(*(always(name) for name in names))
    views, _, route = run(pair(plan, RoutePolicy(0.0, 0.0)), image, 40)
    assert (route.sum(1) == 1).all() and route.any(0).all()
    for column, name in enumerate(plan.types):
        alone = centred(pil.apply(image, name, {"threshold": 0.5}, plan))
        assert all(torch.equal(same(view, alone), route[:, column]) for view in views)


@pytest.mark.parametrize("in_passes", [True, False])
def test_of_two_plans_an_active_type_acts_on_the_view_alone_that_has_it(in_passes):
    flip, grey, dark = (always(name) for name in ("horizontal_flip", "grayscale", "solarization"))
    plans = plan_of(grey, flip), plan_of(flip, dark)
    image, types = picture(), pair_of(*plans).types
    views, _, routes = run(Draws(plans, RoutePolicy(0.0, 0.5), in_passes), image, 40)
    assert len(routes.unique(dim=0)) == 7
    for view, plan in zip(views, plans, strict=True):
        for each, route in zip(view, routes.tolist(), strict=True):
            expected = image
            for name, on in zip(types, route, strict=True):
                if on and name in plan.types:
                    expected = pil.apply(expected, name, {"threshold": 0.5}, plan)
            assert same(each[None], centred(expected)).all()


def test_an_inactive_crop_leaves_the_centred_view():
    image = picture(SIZE + 30, SIZE + 60)
    plan = plan_of(always("crop", max_scale=0.5), always("translation").scaled(0))
    views, _, route = run(pair(plan, RoutePolicy(0.0, 0.0)), image, 40)
    error = (views[0] - centred(image)).abs().flatten(1).mean(1)
    assert (error[~route[:, 0]] < 0.05).all()
    assert (error[route[:, 0]] > 0.2).all()


def test_an_active_type_is_applied_with_its_probability_and_independently():
    count, prob, image = 1200, 0.3, picture(16, 16)
    plan = Plan(16, (Augmentation("horizontal_flip", prob),), MEAN, STD)
    views, _, _ = run(pair(plan), image, count)
    flipped = CentredView(16, MEAN, STD)(image).flip(-1)
    hits = [same(view, flipped) for view in views]
    assert all(within_binomial_bounds(each.sum().item(), count, prob) for each in hits)
    assert within_binomial_bounds((hits[0] & hits[1]).sum().item(), count, prob**2)


def test_all_types_run_together_and_plain_views_follow_their_blocks():
    names = [name for name in TYPES if name not in ("brightness", "contrast", "saturation", "hue")]
    plan = plan_of(*(Augmentation(name, 0.5) for name in names))
    small = plan_of(*(Augmentation(name, 0.5) for name in names if name != "crop"), size=24)
    views, _, route = run(Draws((plan, plan, small), None), picture(70, 90), 8)
    assert route is None
    assert [tuple(view.shape) for view in views] == [(8, 3, SIZE, SIZE)] * 2 + [(8, 3, 24, 24)]
    assert all(view.isfinite().all() and view.flatten(1).std(1).min() > 0.1 for view in views)
    assert not torch.equal(views[0], views[1])


def test_one_pass_gives_the_images_of_separate_operations():
    names = ("brightness", "contrast", "saturation", "hue", "grayscale", "sharpness", "rotation")
    plan = plan_of(*(Augmentation(name, 0.7) for name in names))
    separate, _, _ = run(Draws((plan, plan), FULL), picture(), 12)
    in_one_pass, _, _ = run(Draws((plan, plan), FULL, True), picture(), 12)
    for ours, theirs in zip(in_one_pass, separate, strict=True):
        levels = (ours - theirs).abs() * torch.tensor(STD).view(3, 1, 1) * 255
        assert levels.mean() <= 1.5
        assert levels.amax((1, 2, 3)).median() <= 8


@pytest.mark.parametrize("size", [(64, 64), (40, 160), (200, 30)])
@pytest.mark.parametrize("settings", [{}, {"min_scale": 1.0}, {"max_scale": 0.1, "max_ratio": 3}])
def test_crops_are_boxes_as_drawn_for_pil(size, settings):
    """The colour of a gradient tells which box a view shows."""
    count, crop = 400, always("crop", **settings)
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]]
    image = Image.fromarray(
        np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)  # below 200: no overflow
    )
    plan = Plan(8, (crop,), (0.0,) * 3, (1.0,) * 3)
    (views,), _, _ = run(Draws((plan,), None), image, count)
    corners = views * 255
    found = {
        "centre row": corners[:, 0].mean((1, 2)),
        "centre column": corners[:, 1].mean((1, 2)),
        "height": (corners[:, 0, -2] - corners[:, 0, 1]).mean(1) * 8 / 5,
        "width": (corners[:, 1, :, -2] - corners[:, 1, :, 1]).mean(1) * 8 / 5,
    }
    rng = random.Random(0)
    boxes = [draw(crop, size, rng) for _ in range(count)]
    expected = {
        "centre row": [b["top_px"] + (b["height_px"] - 1) / 2 for b in boxes],
        "centre column": [b["left_px"] + (b["width_px"] - 1) / 2 for b in boxes],
        "height": [b["height_px"] for b in boxes],
        "width": [b["width_px"] for b in boxes],
    }
    for name, values in expected.items():
        ours, theirs = found[name].numpy(), np.array(values, float)
        error = 5 * math.sqrt((ours.var() + theirs.var()) / count) + 1.6  # views round to 8 bits
        assert abs(ours.mean() - theirs.mean()) <= error, name
        assert abs(ours.std() - theirs.std()) <= 0.15 * theirs.std() + 1.6, name


# --- what is drawn -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in TYPES if name != "crop"])
def test_numbers_are_distributed_as_for_pil(name):
    augmentation, count, rng = always(name), 2000, random.Random(0)
    plan = plan_of(augmentation)
    found = draw_batch(augmentation, count, plan, np.random.default_rng(0))
    expected = [draw(augmentation, (SIZE, SIZE), rng) for _ in range(count)]
    assert set(found) == set(expected[0])
    for key, values in found.items():
        theirs = [each[key] for each in expected]
        assert values.shape == (count,)
        assert stats.ks_2samp(values, theirs).pvalue > 1e-4, key
        if key in ranges(augmentation):
            low, high = ranges(augmentation)[key]
            assert low <= values.min() and values.max() <= high


def test_two_views_draw_independent_numbers():
    plan = plan_of(always("rotation"))
    drawn, *_ = pair(plan).draw(1500, np.random.default_rng(0))
    first, second = (drawn[view, "rotation", "angle_deg"] for view in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(1500)


def test_a_type_is_active_where_its_route_and_its_probability_say_so():
    plan, count = plan_of(Augmentation("hue", 0.4), always("grayscale")), 4000
    drawn, route, _ = pair(plan, RoutePolicy(0.3, 0.5)).draw(count, np.random.default_rng(0))
    active = drawn[0, "hue", ACTIVE]
    assert not active[~route[:, 0].numpy()].any()
    assert within_binomial_bounds(active.sum(), route[:, 0].sum().item(), 0.4)
    assert (drawn[1, "grayscale", ACTIVE] == route[:, 1].numpy()).all()


@devices
def test_every_type_is_supported(device):
    for name in TYPES:
        dali.refuse_unsupported(plan_of(always(name)), device)


def test_a_type_that_the_device_cannot_do_is_refused(monkeypatch):
    monkeypatch.setattr(ops, "gpu_ops", lambda: {"Resize", "Flip"})
    dali.refuse_unsupported(plan_of(always("crop"), always("horizontal_flip")), "gpu")
    with pytest.raises(ConfigurationError, match=r"no Equalize on the gpu.*dali.device=cpu"):
        dali.refuse_unsupported(plan_of(always("equalization")), "gpu")
