import math
import pickle
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mast_plugin.augmentation import TYPES, Augmentation
from mast_plugin.drawing import draw
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.plan import Plan, ViewSpec
from mast_plugin.route import RoutePolicy
from mast_plugin.views.pil import apply
from mast_plugin.views.torchvision import CentredView, PlainViews, RoutedViews

SIZE = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
ROUNDING = 1  # levels of 8 bits: two roundings of one number
HALF_LEVEL = 0.5 / 255 / min(STD) + 1e-6  # after normalisation
FULL = RoutePolicy(1.0, 0.0)
SCALABLE = [name for name, kind in TYPES.items() if kind.has_strength]


def picture(height=SIZE, width=SIZE, seed=0):
    """A smooth colourful image with some noise, without symmetries."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    smooth = np.stack([x, y * y, 0.5 + 0.5 * np.sin(5 * x + 3 * y)], axis=-1)
    noisy = 20 + 180 * smooth + rng.uniform(0, 40, smooth.shape)
    return Image.fromarray(noisy.astype(np.uint8))


def plan_of(*augmentations, size=SIZE):
    return Plan(size, augmentations, MEAN, STD)


def always(name, **settings):
    return Augmentation(name, 1.0, settings)


def pixels(image):
    return np.asarray(image).astype(int)


def centred(image):
    return CentredView(SIZE, MEAN, STD)(image)


def within_binomial_bounds(hits, count, prob):
    return abs(hits - count * prob) <= 5 * math.sqrt(count * prob * (1 - prob))


# --- one augmentation with forced parameters, against an independent computation ---------------


def blend(image, other, factor):
    mixed = other + factor * (pixels(image) - other)
    return np.clip(np.round(mixed), 0, 255)


def grey(image):
    return (pixels(image) @ [0.299, 0.587, 0.114])[..., None]


def shifted_hue(image, turns):
    hue, saturation, value = image.convert("HSV").split()
    moved = np.asarray(hue).astype(int) + int(turns * 255)
    hue = Image.fromarray((moved % 256).astype(np.uint8))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def jittered(image):
    image = ImageEnhance.Brightness(image).enhance(1.2)
    image = ImageEnhance.Contrast(image).enhance(0.7)
    return shifted_hue(ImageEnhance.Color(image).enhance(1.3), -0.1)


def translated(image, right, down, fill):
    moved = np.empty_like(pixels(image))
    moved[:] = fill
    moved[down:, :-right] = pixels(image)[:-down, right:]
    return moved


def erased(image, fill):
    holed = pixels(image)
    holed[3:10, 5:25] = fill
    return holed


FILL = plan_of(always("shear")).fill
BOX = {"top_px": 3, "left_px": 5, "height_px": 7, "width_px": 20}
ORACLES = [
    (
        "crop",
        BOX,
        lambda i: i.crop((5, 3, 25, 10)).resize((SIZE, SIZE), Image.Resampling.BICUBIC),
    ),
    ("brightness", {"brightness_factor": 1.3}, lambda i: blend(i, 0, 1.3)),
    ("contrast", {"contrast_factor": 0.6}, lambda i: blend(i, round(grey(i).mean()), 0.6)),
    ("saturation", {"saturation_factor": 1.5}, lambda i: blend(i, np.round(grey(i)), 1.5)),
    ("hue", {"hue_turns": 0.2}, lambda i: shifted_hue(i, 0.2)),
    (
        "color_jitter",
        {
            "brightness_factor": 1.2,
            "contrast_factor": 0.7,
            "saturation_factor": 1.3,
            "hue_turns": -0.1,
        },
        jittered,
    ),
    ("grayscale", {}, lambda i: np.round(grey(i)).repeat(3, axis=-1)),
    ("sharpness", {"sharpness_factor": 1.8}, lambda i: ImageEnhance.Sharpness(i).enhance(1.8)),
    ("gaussian_blur", {"sigma_px": 1.5}, lambda i: i.filter(ImageFilter.GaussianBlur(1.5))),
    (
        "solarization",
        {"threshold": 0.5},
        lambda i: np.where(pixels(i) < 128, pixels(i), 255 - pixels(i)),
    ),
    ("equalization", {}, lambda i: Image.merge("RGB", [ImageOps.equalize(c) for c in i.split()])),
    ("horizontal_flip", {}, lambda i: pixels(i)[:, ::-1]),
    ("rotation", {"angle_deg": 90.0}, lambda i: np.rot90(pixels(i))),
    (
        "rotation",
        {"angle_deg": -20.0},
        lambda i: i.rotate(-20, Image.Resampling.BILINEAR, fillcolor=FILL),
    ),
    ("translation", {"x_shift": -0.1, "y_shift": 0.25}, lambda i: translated(i, 3, 8, FILL)),
    ("erasing", BOX, lambda i: erased(i, FILL)),
]


@pytest.mark.parametrize(("name", "drawn", "oracle"), ORACLES)
def test_forced_parameters_give_the_independently_computed_image(name, drawn, oracle):
    image = picture()
    found = pixels(apply(image, name, drawn, plan_of(always(name))))
    assert np.abs(found - pixels(oracle(image))).max() <= ROUNDING


def test_shear_moves_points_as_documented():
    tx, ty = math.tan(math.radians(10)), math.tan(math.radians(-5))
    image = picture(64, 64)
    drawn = {"x_angle_deg": 10.0, "y_angle_deg": -5.0}
    found = pixels(apply(image, "shear", drawn, plan_of(always("shear"), size=64)))
    y, x = np.mgrid[0:64, 0:64] - 31.5
    # The way back, from a point of the sheared image to where its colour comes from.
    back = np.linalg.inv([[1, -tx], [-ty, 1 + tx * ty]])
    source_x = back[0, 0] * x + back[0, 1] * y + 31.5
    source_y = back[1, 0] * x + back[1, 1] * y + 31.5
    inside = (source_x > 0) & (source_x < 63) & (source_y > 0) & (source_y < 63)
    left, top = (np.floor(s[inside]).astype(int) for s in (source_x, source_y))
    dx, dy = (source_x[inside] - left)[:, None], (source_y[inside] - top)[:, None]
    p = pixels(image)
    above = p[top, left] * (1 - dx) + p[top, left + 1] * dx
    below = p[top + 1, left] * (1 - dx) + p[top + 1, left + 1] * dx
    expected = above * (1 - dy) + below * dy
    assert inside.mean() > 0.7
    assert np.abs(found[inside] - expected).max() <= ROUNDING
    outside = (source_x < -1) | (source_x > 64) | (source_y < -1) | (source_y > 64)
    assert (found[outside] == FILL).all()


@pytest.mark.parametrize("name", TYPES)
def test_every_type_changes_an_image(name):
    image, augmentation = picture(), always(name)
    drawn = draw(augmentation, (SIZE, SIZE), random.Random(1))
    changed = apply(image, name, drawn, plan_of(augmentation))
    assert changed.size == image.size
    assert np.abs(pixels(changed) - pixels(image)).mean() > 1


@pytest.mark.parametrize("name", SCALABLE)
def test_no_strength_leaves_an_image_alone(name):
    image, augmentation = picture(), always(name).scaled(0)
    drawn = draw(augmentation, (SIZE, SIZE), random.Random(1))
    assert (pixels(apply(image, name, drawn, plan_of(augmentation))) == pixels(image)).all()


@pytest.mark.parametrize("name", TYPES)
def test_the_given_image_is_not_changed(name):
    image, augmentation = picture(), always(name)
    before = pixels(image).copy()
    apply(image, name, draw(augmentation, (SIZE, SIZE), random.Random(1)), plan_of(augmentation))
    assert (pixels(image) == before).all()


# --- routed views ------------------------------------------------------------------------------


def test_a_routed_image_gives_two_normalised_views_and_its_route():
    views = RoutedViews(plan_of(always("crop"), always("hue")), RoutePolicy())
    first, second, route = views(picture(40, 50))
    for view in (first, second):
        assert view.shape == (3, SIZE, SIZE)
        assert view.dtype == torch.float32
    assert route.shape == (2,)
    assert route.dtype == torch.bool


def test_inactive_types_are_off_on_both_views():
    names = ("grayscale", "solarization", "horizontal_flip")
    image, plan = picture(), plan_of(*(always(name) for name in names))
    threshold = {"threshold": 0.5}
    alone = {name: centred(apply(image, name, threshold, plan)) for name in names}
    views = RoutedViews(plan, RoutePolicy(0.0, 0.0))  # exactly one type is active
    torch.manual_seed(0)
    seen = set()
    for _ in range(30):
        first, second, route = views(image)
        (active,) = (name for name, on in zip(plan.types, route.tolist(), strict=True) if on)
        assert torch.equal(first, alone[active])
        assert torch.equal(second, alone[active])
        seen.add(active)
    assert seen == set(names)


def test_an_inactive_crop_leaves_the_centred_view():
    image = picture(40, 56)
    plan = plan_of(always("crop", max_scale=0.5), always("translation").scaled(0))
    views = RoutedViews(plan, RoutePolicy(0.0, 0.0))
    torch.manual_seed(0)
    for _ in range(10):
        first, second, route = views(image)
        assert torch.equal(first, centred(image)) == (not route[0])
        assert torch.equal(second, centred(image)) == (not route[0])


def test_an_active_type_is_drawn_independently_for_the_two_views():
    image, count, prob = picture(), 1500, 0.3
    views = RoutedViews(plan_of(Augmentation("horizontal_flip", prob)), FULL)
    flipped = centred(image).flip(-1)
    torch.manual_seed(0)
    hits = torch.tensor(
        [[torch.equal(view, flipped) for view in views(image)[:2]] for _ in range(count)]
    )
    for one_view in hits.sum(dim=0).tolist():
        assert within_binomial_bounds(one_view, count, prob)
    assert within_binomial_bounds(hits.all(dim=1).sum().item(), count, prob**2)


@pytest.mark.parametrize(
    "name", sorted(set(TYPES) - {"horizontal_flip", "grayscale", "solarization", "equalization"})
)
def test_parameters_differ_between_the_two_views(name):
    first, second, _ = RoutedViews(plan_of(always(name)), FULL)(picture(40, 40))
    assert not torch.equal(first, second)


def test_images_draw_different_parameters():
    views = RoutedViews(plan_of(always("rotation")), FULL)
    assert not torch.equal(views(picture())[0], views(picture())[0])


def test_a_certain_type_always_applies():
    image = picture()
    views = RoutedViews(plan_of(always("horizontal_flip")), FULL)
    flipped = centred(image).flip(-1)
    assert all(torch.equal(view, flipped) for _ in range(100) for view in views(image)[:2])


def test_a_type_of_probability_zero_never_applies_and_has_no_place_in_the_route():
    image = picture()
    plan = plan_of(Augmentation("horizontal_flip", 0.0), always("translation").scaled(0))
    *views, route = RoutedViews(plan, FULL)(image)
    assert all(torch.equal(view, centred(image)) for view in views)
    assert route.shape == (1,)


def test_erased_pixels_are_zero_after_normalisation():
    everything = always("erasing", min_area=1, max_area=1, min_ratio=1, max_ratio=1)
    view, _, _ = RoutedViews(plan_of(everything), FULL)(picture())
    assert view.abs().max() <= HALF_LEVEL


# --- plain and centred views -------------------------------------------------------------------


def test_plain_views_follow_the_blocks_in_order_and_number():
    image = picture()
    flip, hole = plan_of(always("horizontal_flip")), plan_of(always("grayscale"), size=16)
    views = PlainViews([ViewSpec(flip, 2), ViewSpec(hole, 3)])(image)
    assert [view.shape[-1] for view in views] == [SIZE, SIZE, 16, 16, 16]
    for view in views[:2]:
        assert torch.equal(view, centred(image).flip(-1))
    grey_levels = views[2] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert torch.allclose(grey_levels[0], grey_levels[1], atol=1e-6)


def test_every_block_normalises_by_its_own_numbers():
    still = (always("translation").scaled(0),)
    specs = [ViewSpec(Plan(SIZE, still, (0.0,) * 3, (1.0,) * 3), 1), ViewSpec(plan_of(*still), 1)]
    raw, normalised = PlainViews(specs)(picture())
    assert torch.allclose(raw, transforms.ToTensor()(picture()))
    assert torch.allclose(normalised, transforms.Normalize(MEAN, STD)(raw), atol=1e-6)


def test_plain_views_activate_every_type_with_its_own_probability():
    image, count, prob = picture(), 1500, 0.3
    plan = plan_of(Augmentation("horizontal_flip", prob))
    flipped = centred(image).flip(-1)
    torch.manual_seed(0)
    views = PlainViews([ViewSpec(plan, count)])(image)
    assert within_binomial_bounds(sum(torch.equal(v, flipped) for v in views), count, prob)


def test_plain_views_need_a_block():
    with pytest.raises(ConfigurationError, match="at least one block"):
        PlainViews([])


@pytest.mark.parametrize("size", [(32, 32), (40, 57), (20, 90), (16, 16)])
def test_the_centred_view_is_torchvisions_resize_and_centre_crop(size):
    reference = transforms.Compose(
        [
            transforms.Resize(SIZE, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(SIZE),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    view = CentredView(SIZE, MEAN, STD)(picture(*size))
    assert torch.allclose(view, reference(picture(*size)), atol=1e-6)


# --- what all views share ----------------------------------------------------------------------

PLAN = plan_of(
    *(
        Augmentation(name, 0.5)
        for name in TYPES
        if name not in ("brightness", "contrast", "saturation", "hue")
    )
)
ALL_VIEWS = [
    RoutedViews(PLAN, RoutePolicy(0.2, 0.5)),
    PlainViews([ViewSpec(PLAN, 2)]),
    CentredView(SIZE, MEAN, STD),
]
each_kind = pytest.mark.parametrize("views", ALL_VIEWS, ids=lambda views: type(views).__name__)


def seeded(views, seed):
    torch.manual_seed(seed)
    outcome = [views(picture(40, 48)) for _ in range(5)]
    return torch.cat([torch.stack(list(each[:2])).flatten() for each in outcome])


@each_kind
def test_the_same_seed_gives_the_same_views_also_after_pickling(views):
    copy = pickle.loads(pickle.dumps(views))
    assert torch.equal(seeded(views, 7), seeded(views, 7))
    assert torch.equal(seeded(views, 7), seeded(copy, 7))


@pytest.mark.parametrize("views", ALL_VIEWS[:2], ids=lambda views: type(views).__name__)
def test_another_seed_gives_other_views(views):
    assert not torch.equal(seeded(views, 7), seeded(views, 8))


@each_kind
@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_that_are_not_rgb_are_refused(views, mode):
    with pytest.raises(DataError, match=rf"'{mode}'.*convert\('RGB'\)"):
        views(picture().convert(mode))


def test_views_print_what_they_do():
    spec = ViewSpec(plan_of(always("shear"), always("horizontal_flip")), 2)
    steps = "32 px: horizontal_flip(prob=1) -> shear(prob=1, max_angle_deg=10)"
    policy = "RoutePolicy(full_prob=1.0, active_prob=0.0)"
    assert repr(RoutedViews(spec.plan, FULL)) == f"RoutedViews({policy}, {steps})"
    assert repr(PlainViews([spec])) == f"PlainViews(2 x [{steps}])"
    assert repr(CentredView(16)) == "CentredView(16 px)"


class OneImage(Dataset):
    """The same image again and again, as the host's datasets give it: index, views, target."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return index, self.transform(picture()), index % 3


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_collates_batches_of_the_hosts_format(num_workers):
    plan = plan_of(always("crop"), Augmentation("hue", 0.5))
    views = RoutedViews(plan, RoutePolicy(0.5, 0.5))
    loader = DataLoader(OneImage(views), batch_size=4, num_workers=num_workers)
    batches = list(loader)
    assert len(batches) == 2
    for index, (first, second, route), target in batches:
        assert index.shape == target.shape == (4,)
        assert first.shape == second.shape == (4, 3, SIZE, SIZE)
        assert first.dtype == second.dtype == torch.float32
        assert route.shape == (4, 2)
        assert route.dtype == torch.bool


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_repeat_with_the_seed_and_differ_from_each_other(num_workers):
    views = RoutedViews(plan_of(always("rotation")), FULL)
    loader = DataLoader(OneImage(views), batch_size=4, num_workers=num_workers)

    def epoch():
        return torch.cat([batch[1][0] for batch in loader])

    torch.manual_seed(5)
    first = epoch()
    torch.manual_seed(5)
    assert torch.equal(epoch(), first)
    assert first.flatten(1).unique(dim=0).shape[0] == len(loader.dataset)
