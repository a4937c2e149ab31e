"""A plan's order of application is one and the same in every interpreter.

Every pair of types is active with forced parameters. Found with both types is compared with PIL's
second type upon what the same interpreter found with the first alone: so the second's own
tolerance is all that is allowed, whatever the two would amplify.
"""

import random
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from mast_plugin.errors import ConfigurationError
from mast_plugin.views import pil
from mast_plugin.views import plan as plans
from mast_plugin.views.augmentation import JITTER_PARTS, TYPES, Augmentation
from mast_plugin.views.drawing import draw, draw_view
from mast_plugin.views.plan import Plan, ViewSpec
from mast_plugin.views.torchvision import PlainViews, _local_generator

from .levels import MARGIN, MEAN, SIZE, STD, TOLERANCE, away_from_edges, picture

pytestmark = pytest.mark.slow

SEPARATE = tuple(name for name in TYPES if name != "color_jitter")
JOINED = tuple(name for name in TYPES if name not in JITTER_PARTS)
PARAMETERS = {name: draw(Augmentation(name, 1.0), (SIZE, SIZE), random.Random(7)) for name in TYPES}
"""What every type is forced to."""
FEW_LEVELS = {"equalization": (7, 16)}
"""Of DALI's own operation, which counts a level's own pixels, where PIL counts those below: the
fewer levels an earlier type has left, the more there are of each."""


def plan_of(names):
    return Plan(SIZE, tuple(Augmentation(name, 1.0) for name in names), MEAN, STD)


def levels(view):
    """A normalised view (3, S, S) as the 8-bit integers (S, S, 3) that it was made of."""
    std, mean = (np.array(values).reshape(3, 1, 1) for values in (STD, MEAN))
    return np.rint((np.asarray(view) * std + mean) * 255).astype(int).transpose(1, 2, 0)


def differ(name, found, expected, plan, tolerance=TOLERANCE):
    """Whether an image is another than PIL's, as far as the type applied last can be told."""
    difference = np.abs(found - expected)
    if name in ("rotation", "shear"):
        difference = difference * away_from_edges(name, [PARAMETERS[name]], plan)[0]
    inner = slice(MARGIN.get(name, 0), SIZE - MARGIN.get(name, 0))
    difference = difference[inner, inner]
    mean, largest = tolerance[name]
    return difference.mean() > mean or difference.max() > largest


def by_pil(image, names, plan):
    for name in names:
        image = pil.apply(image, name, PARAMETERS[name], plan)
    return np.asarray(image).astype(int)


def dali_views(plan, rows, in_passes):
    """Views (N, S, S, 3) of one picture through a pipeline; the types of each row act."""
    pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    from mast_plugin.loading.dali.draw import BOX, Draws, _settings, settings_key
    from mast_plugin.loading.dali.graph import build_pipeline
    from mast_plugin.loading.dali.kernel.fused import passes_of

    draws = Draws((plan,), None, in_passes)
    drawn = Draws((plan,), None).draw(len(rows), np.random.default_rng(0)).arrays
    for key in drawn:
        _, name, parameter = key
        acts = np.array([name in row for row in rows])
        if parameter == "active":
            drawn[key] = acts
        elif key[1:] == BOX:
            drawn[key] = forced_box(acts)
        else:
            drawn[key] = np.full(len(rows), PARAMETERS[name][parameter], np.float32)
    if in_passes:
        for number, (fields, _) in enumerate(passes_of(plan)):
            drawn[settings_key(0, number)] = _settings(drawn, 0, fields, len(rows))
    encoded = png(picture())
    pipeline = build_pipeline(
        draws,
        lambda fed: fed,
        lambda: [[encoded] * len(rows), *(drawn[key] for key in draws.keys)],
        device="cpu",
        batch_size=len(rows),
        num_threads=1,
        device_id=None,
        prefetch_queue_depth=1,
    )
    views, _ = pipeline.run()
    return [levels(view) for view in views.as_array()]


def forced_box(acts):
    from mast_plugin.loading.dali.kernel.crop import BOX_NUMBERS

    box = PARAMETERS["crop"]
    numbers = np.zeros((len(acts), BOX_NUMBERS), np.float32)
    numbers[:, 0] = acts
    for column, start, side in ((1, "top_px", "height_px"), (2, "left_px", "width_px")):
        numbers[:, column] = (box[start] + 0.5) / (SIZE - box[side] + 1)
    numbers[:, 5:] = np.tile([box["height_px"] / SIZE, box["width_px"] / SIZE], 10)
    return numbers


def png(image):
    import io

    buffer = io.BytesIO()
    image.save(buffer, "png")
    return np.frombuffer(buffer.getvalue(), np.uint8)


def wrong_pairs(plan, in_passes):
    """The pairs, and the types alone, of which DALI makes another image than PIL."""
    alone, pairs = [(name,) for name in plan.types], list(combinations(plan.types, 2))
    rows = [*alone, *pairs]
    found = dict(zip(rows, dali_views(plan, rows, in_passes), strict=True))
    tolerance = TOLERANCE if in_passes else {**TOLERANCE, **FEW_LEVELS}
    wrong = []
    for *first, last in rows:
        before = picture()
        if first:
            before = Image.fromarray(found[tuple(first)].astype(np.uint8))
        expected = by_pil(before, [last], plan)
        if differ(last, found[(*first, last)], expected, plan, tolerance):
            wrong.append((*first, last))
    return wrong


everywhere = pytest.mark.parametrize("in_passes", [True, False], ids=["CPU", "as on a GPU"])


@everywhere
@pytest.mark.parametrize("names", [SEPARATE, JOINED], ids=["separate", "color_jitter"])
def test_dali_applies_every_pair_in_the_plans_order(names, in_passes):
    assert wrong_pairs(plan_of(names), in_passes) == []


@everywhere
@pytest.mark.parametrize("seed", range(3))
def test_whatever_order_the_types_have_dali_follows_it(seed, in_passes, monkeypatch):
    shuffled = random.Random(seed).sample(SEPARATE[1:], len(SEPARATE) - 1)
    monkeypatch.setattr(plans, "TYPES", {name: TYPES[name] for name in ("crop", *shuffled)})
    plan = plan_of(SEPARATE)
    assert plan.types == ("crop", *shuffled)
    # After a hard edge, DALI's own blur and equalization are further from PIL's than TOLERANCE.
    rough = () if in_passes else ("gaussian_blur", "equalization")
    assert [row for row in wrong_pairs(plan, in_passes) if row[-1] not in rough] == []


@pytest.mark.parametrize("names", [SEPARATE, JOINED], ids=["separate", "color_jitter"])
def test_the_other_order_of_a_pair_shows(names):
    """Or the tests above could not fail."""
    plan = plan_of(names)
    pairs = list(combinations(plan.types[1:], 2))
    hidden = [
        (first, last)
        for first, last in pairs
        if not differ(
            last,
            by_pil(picture(), [last, first], plan),
            by_pil(picture(), [first, last], plan),
            plan,
            {**TOLERANCE, **FEW_LEVELS},
        )
    ]
    assert len(hidden) <= len(pairs) / 2, hidden


def test_torchvision_applies_every_pair_in_the_plans_order():
    for pair in (*combinations(SEPARATE, 2), *combinations(JOINED, 2)):
        plan = plan_of(pair)
        torch.manual_seed(0)
        drawn = draw_view(plan, (SIZE, SIZE), _local_generator())
        assert sorted(drawn) == sorted(pair)
        expected = picture()
        for name in TYPES:
            if name in pair:
                expected = pil.apply(expected, name, drawn[name], plan)
        torch.manual_seed(0)
        (found,) = PlainViews([ViewSpec(plan, 1)])(picture())
        assert (levels(found) == np.asarray(expected)).all(), pair


def test_a_crop_that_is_not_the_first_type_is_refused(monkeypatch):
    monkeypatch.setattr(plans, "TYPES", {name: TYPES[name] for name in reversed(TYPES)})
    with pytest.raises(ConfigurationError, match="crop must come first"):
        plan_of(["crop", "hue"])


def test_a_type_unknown_to_the_compiled_pass_splits_it(monkeypatch):
    pytest.importorskip("numba")
    from mast_plugin.loading.dali.kernel import fused as kernel_pass

    known = {name: step for name, step in kernel_pass.STEPS.items() if name != "solarization"}
    monkeypatch.setattr(kernel_pass, "STEPS", known)
    plan = plan_of(["crop", "color_jitter", "solarization", "equalization", "rotation"])
    first, second = kernel_pass.passes_of(plan)
    assert [field.part for field in first.fields] == list(JITTER_PARTS)
    assert [field.part for field in second.fields] == ["equalization"]
    assert [each.name for each in first.followers] == ["solarization"]
    assert [each.name for each in second.followers] == ["rotation"]
    assert wrong_pairs(plan, True) == []
