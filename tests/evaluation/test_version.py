"""Whatever changes a number raises a version: else what was kept of before would be read again.

Where a test fails here, and the change is wanted: raise the version that it names, and record what
it shows.
"""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mast_plugin.evaluation import version
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.protocols import (
    fewshot,
    finetune,
    labelfree,
    lightning_linear,
    linear,
    neighbour,
    profile,
)
from mast_plugin.evaluation.protocols.registry import PROTOCOLS
from mast_plugin.loading.image import load_image
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.plan import Plan

PIXELS = {1: "8f777bc7699921de", 2: "575f103e1905e642"}
"""Of every kind of image, by the version of the loading."""
VIEWS = {1: [0.213, 0.323, 0.28, 0.38, 0.688]}
"""Of one view: mean, standard deviation and a pixel, by the version of the views."""
NUMBERS = {
    ("knn", 2): {
        "knn  top1": 61.43,
        "knn  top5": 97.43,
        "knn  mean_per_class": 61.43,
        "knn  top1 low": 56.00,
        "knn  top5 low": 95.71,
        "knn  mean_per_class low": 56.43,
    },
    ("linear", 1): {
        "linear  top1": 83.14,
        "linear  top5": 99.43,
        "linear  mean_per_class": 83.14,
        "linear  top1 low": 79.14,
        "linear  top5 low": 98.57,
        "linear  mean_per_class low": 79.01,
    },
    ("few-shot", 1): {
        "few-shot-5  top1": 66.14,
        "few-shot-5  top5": 98.43,
        "few-shot-5  mean_per_class": 66.14,
        "few-shot-10  top1": 74.03,
        "few-shot-10  top5": 99.20,
        "few-shot-10  mean_per_class": 74.03,
        "few-shot-5  top1 low": 64.31,
        "few-shot-5  top5 low": 97.97,
        "few-shot-5  mean_per_class low": 64.31,
        "few-shot-10  top1 low": 72.05,
        "few-shot-10  top5 low": 98.81,
        "few-shot-10  mean_per_class low": 72.05,
    },
    ("label-free", 1): {
        "label-free  rankme": 12.53,
        "label-free  uniformity": -2.94,
        "label-free  feature_std": 0.8489,
        "label-free  alignment": 1.2107,
    },
    ("invariance", 1): {
        "invariance brightness similarity": 0.2646,
        "invariance brightness invariance": 0.2719,
        "invariance brightness told_r2": 0.9955,
        "invariance grayscale similarity": 0.4316,
        "invariance grayscale invariance": 0.4381,
        "invariance grayscale told_accuracy": 50.00,
    },
}
"""Of a protocol and its version; `low` is the lower end of an interval."""
OTHERS = {"lightning-linear": 1, "finetune-1%": 1, "finetune-10%": 1}
"""Trained, so that their numbers differ from machine to machine: only their constants are seen."""


def noise(*shape, levels=256, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, levels, shape, dtype=dtype)


def kinds():
    """Images without loss, of every kind that a camera, a scanner or a program writes."""
    colour = Image.fromarray(noise(9, 12, 3))
    yield "colour.png", colour, {}
    yield "colour.tif", colour, {}
    yield "grey.png", Image.fromarray(noise(9, 12)), {}
    yield "palette.png", colour.quantize(32), {}
    yield "alpha.png", Image.fromarray(noise(9, 12, 4)), {}
    yield "grey-alpha.png", Image.fromarray(noise(9, 12, 2)), {}
    yield "two-levels.png", Image.fromarray(noise(9, 12) > 127), {}
    yield "print.tif", Image.fromarray(noise(9, 12, 4), "CMYK"), {}
    yield "deep.png", Image.fromarray(noise(9, 12, levels=65536, dtype=np.uint16)), {}
    orientation = Image.Exif()
    orientation[0x0112] = 6
    yield "turned.png", colour, {"exif": orientation}
    yield "turned.tif", colour, {"exif": orientation}


def test_the_loading_makes_the_pixels_of_its_version(tmp_path):
    digest = hashlib.sha256()
    for name, image, options in kinds():
        image.save(tmp_path / name, **options)
        pixels = np.asarray(load_image(str(tmp_path / name)))
        digest.update(f"{name} {pixels.shape}".encode() + pixels.tobytes())
    assert PIXELS.get(version.LOADING) == digest.hexdigest()[:16]


def test_the_view_of_evaluation_is_that_of_its_version():
    view = ViewStatistics(8).centred()(Image.fromarray(noise(30, 40, 3)))
    found = [view.mean(), view.std(), *view[:, 3, 4]]
    assert VIEWS.get(version.VIEWS) == pytest.approx([float(each) for each in found], abs=0.02)


def labelled(count, seed):
    rng = np.random.default_rng(seed)
    centres = 0.7 * np.random.default_rng(99).normal(size=(7, 16))
    labels = np.arange(count) % 7
    points = (centres[labels] + rng.normal(size=(count, 16))) * np.logspace(0, 1, 16)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


def of_labels(measure):
    return lambda _: measure("", "", *labelled(280, 0), *labelled(350, 1))


def without_labels(_):
    features, views = labelled(350, 1)[0], labelled(100, 2)[0]
    pairs = views, views + 5 * labelled(100, 3)[0]
    return labelfree.label_free_measurements("", features, pairs)


def of_augmentations(folder):
    files = []
    for number in range(40):
        files.append(folder / f"{number}.png")
        Image.fromarray(noise(20, 24, 3, seed=number)).save(files[-1])
    types = Augmentation("brightness", 1.0), Augmentation("grayscale", 1.0)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return profile.invariance_profile(pooled, files, Plan(16, types), num_images=40)


MEASURED = {
    "knn": (neighbour.VERSION, of_labels(neighbour.knn_measurements)),
    "linear": (linear.VERSION, of_labels(linear.linear_measurements)),
    "few-shot": (fewshot.VERSION, of_labels(fewshot.few_shot_measurements)),
    "label-free": (labelfree.VERSION, without_labels),
    "invariance": (profile.VERSION, of_augmentations),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_protocol_gives_the_numbers_of_its_version(host, tmp_path, name):
    number, measure = MEASURED[name]
    assert PROTOCOLS[name].version == number
    rows = measure(tmp_path)
    found = {f"{row.protocol} {row.subject} {row.metric}": row.value for row in rows}
    ends = {f"{row.protocol} {row.subject} {row.metric} low": row.low for row in rows if row.low}
    recorded = NUMBERS.get((name, number), {})
    assert found | ends == pytest.approx(recorded, abs=0.01, rel=0.01)


def test_no_protocol_is_left_out():
    assert MEASURED.keys() | OTHERS.keys() == PROTOCOLS.keys()
    assert {name: PROTOCOLS[name].version for name in OTHERS} == OTHERS
    assert (lightning_linear.VERSION, finetune.VERSION) == (1, 1)
