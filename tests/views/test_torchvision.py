import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mast_plugin.core.route import RoutePolicy
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.pil import apply
from mast_plugin.views.plan import Plan, ViewSpec, pair_of
from mast_plugin.views.torchvision import CentredView, PlainViews, RoutedViews

SIZE = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
HALF_LEVEL = 0.5 / 255 / min(STD) + 1e-6  # after normalisation
FULL = RoutePolicy(1.0, 0.0)


def picture(height=SIZE, width=SIZE):
    """Noise: no symmetries, many colours."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def plan_of(*augmentations, size=SIZE):
    return Plan(size, augmentations, MEAN, STD)


def always(name, **settings):
    return Augmentation(name, 1.0, settings)


def centred(image):
    return CentredView(SIZE, MEAN, STD)(image)


def within_binomial_bounds(hits, count, prob):
    return abs(hits - count * prob) <= 5 * math.sqrt(count * prob * (1 - prob))


# --- routed views ------------------------------------------------------------------------------


def test_a_routed_image_gives_two_normalised_views_and_its_route():
    views = RoutedViews(plan_of(always("crop"), always("hue")), RoutePolicy())
    first, second, route, _ = views(picture(40, 50))
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
        first, second, route, _ = views(image)
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
        first, second, route, _ = views(image)
        assert torch.equal(first, centred(image)) == (not route[0])
        assert torch.equal(second, centred(image)) == (not route[0])


def test_crops_reach_beyond_the_centred_square():
    wide = Image.new("RGB", (5 * SIZE, SIZE))
    wide.paste((255, 255, 255), (4 * SIZE, 0, 5 * SIZE, SIZE))
    views = RoutedViews(plan_of(always("crop", max_scale=0.1)), FULL)
    torch.manual_seed(0)
    brightest = torch.stack([views(wide)[0].amax() for _ in range(100)]).max()
    assert brightest > centred(wide).amax()


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
    first, second, *_ = RoutedViews(plan_of(always(name)), FULL)(picture(40, 40))
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
    *views, route, _ = RoutedViews(plan, FULL)(image)
    assert all(torch.equal(view, centred(image)) for view in views)
    assert route.shape == (1,)


def test_erased_pixels_are_zero_after_normalisation():
    everything = always("erasing", min_area=1, max_area=1, min_ratio=1, max_ratio=1)
    view, *_ = RoutedViews(plan_of(everything), FULL)(picture())
    assert view.abs().max() <= HALF_LEVEL


def test_of_two_plans_an_active_type_acts_on_the_view_alone_that_has_it():
    flip, grey, dark = (always(name) for name in ("horizontal_flip", "grayscale", "solarization"))
    image, pair = picture(), pair_of(plan_of(grey, flip), plan_of(flip, dark))
    views = RoutedViews(pair, RoutePolicy(0.0, 0.5))
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        *both, route, _ = views(image)
        active = [name for name, on in zip(pair.types, route.tolist(), strict=True) if on]
        for view, plan in zip(both, pair.views, strict=True):
            expected = image
            for name in active:
                if name in plan.types:
                    expected = apply(expected, name, {"threshold": 0.5}, plan)
            assert torch.equal(view, centred(expected))
        seen.add(tuple(active))
    assert len(seen) == 7


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
    policy = "RoutePolicy(full_prob=1.0, active_prob=0.0, scheme='independent')"
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
    for index, (first, second, route, _), target in batches:
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
