"""The invariance profile: to which augmentations features are blind, and which they still tell.

This project's choice throughout. For each augmentation type alone, always applied and drawn
independently, two views of every image are made of its centred square. Where a type has nothing to
draw (grayscale, horizontal_flip, equalization, solarization), one view is the square itself.

``similarity``, in [-1, 1]: mean cosine of the two views' features, from which the mean feature of
the plain squares is subtracted.

``invariance``, in (-inf, 1]: (similarity - s) / (1 - s), where s is the mean cosine of views of
*different* images. 1: the type changes nothing; 0: two views are as far apart as two images.

``told_r2``, in (-inf, 1]: how much of the drawn parameters a ridge regression reads off one view's
feature, as R^2 on images that it was not fitted to, mean over the parameters that vary. 1:
everything; 0: nothing more than their mean; below 0: worse than that. Not clipped.

``told_accuracy``, in %, for types with nothing to draw: how often a ridge classifier says rightly
whether the type was applied, on images that it was not fitted to; chance is 50.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mast_plugin.errors import DataError
from mast_plugin.evaluation.features.extraction import evaluating
from mast_plugin.evaluation.labels.labelled import check_finite
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.loading.image import AS_SHOWN, Reading, load_image
from mast_plugin.running.progress import progress as progress_bar
from mast_plugin.views.augmentation import TYPES, Augmentation
from mast_plugin.views.drawing import draw, is_switch
from mast_plugin.views.pil import apply, centred
from mast_plugin.views.plan import IMAGENET_MEAN, IMAGENET_STD, Plan
from mast_plugin.views.torchvision import CentredView

VERSION = 1
"""Raised whenever the same network and images would get other numbers."""
MEASURES = ("similarity", "invariance", "told_r2", "told_accuracy")
NUM_IMAGES = 512
PROTOCOL = "invariance"
_L2_WEIGHTS = np.logspace(-2, 5, 15)

Space = Callable[[Tensor], Tensor]


def full_plan(
    crop_size: int,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Plan:
    """All types with their default parameters, for a network of unknown augmentations.

    Colour jitter is represented by the four types that it consists of.
    """
    names = [name for name in TYPES if name != "color_jitter"]
    return Plan(crop_size, tuple(Augmentation(name, 1.0) for name in names), mean, std)


def invariance_profile(
    backbone: nn.Module,
    files: Sequence[Path],
    plan: Plan,
    *,
    reading: Reading = AS_SHOWN,
    spaces: Mapping[str, Space] | None = None,
    num_images: int = NUM_IMAGES,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    seed: int = 0,
    progress: bool | None = False,
) -> list[Measurement]:
    """Measure the profile of a backbone and of the spaces derived from its features.

    Args:
        backbone: maps (N, 3, H, W) images to (N, F) features; used in evaluation mode.
        files: images that the network was not trained on, at least 4.
        plan: the types, with their parameters; their ``prob`` is taken to be 1.
        reading: how files become images.
        spaces: further spaces by name, each a function of (N, F) features on the CPU.
        num_images: how many of the files are used, drawn at random without repetition.
        batch_size: views per forward pass.
        device: where to run the backbone.
        seed: of the choice of images, of every drawn parameter and of the split of the probes; the
            global random state is left alone, and the same seed gives the same numbers.
        progress: as ``shown`` of :func:`mast_plugin.running.progress.progress`.

    Returns:
        ``similarity``, ``invariance`` and ``told_r2`` or ``told_accuracy`` (see the module) for
        every space and type; ``told_r2`` is left out where no parameter varies. No intervals.

    Raises:
        DataError: an image cannot be read, there are fewer than 4, or features are not finite.
    """
    if min(len(files), num_images) < 4:
        raise DataError(f"an invariance profile needs at least 4 images, got {len(files)}")
    rng = random.Random(seed)
    chosen = sorted(rng.sample(range(len(files)), min(num_images, len(files))))
    squares = [centred(load_image(str(files[i]), reading), plan.crop_size) for i in chosen]
    run = _Runner(backbone, CentredView(plan.crop_size, plan.mean, plan.std), batch_size, device)
    everywhere: dict[str, Space] = {"backbone": lambda features: features, **(spaces or {})}
    rows: list[Measurement] = []
    with evaluating(backbone.to(device)):
        plain = run(squares)
        check_finite(plain)
        for augmentation in progress_bar(plan.augmentations, "Profile", shown=progress):
            pair = _pair(augmentation, squares, plan, run, plain, seed)
            for name, space in everywhere.items():
                values = _measure(pair, plain, space, seed)
                rows += [
                    Measurement(name, PROTOCOL, augmentation.name, metric, value)
                    for metric, value in values.items()
                ]
    return rows


@dataclass(frozen=True)
class _Runner:
    """PIL images to features (N, F) on the CPU."""

    backbone: nn.Module
    to_tensor: CentredView
    batch_size: int
    device: torch.device | str

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        with torch.inference_mode():
            return torch.cat([self._features(part) for part in self._batches(images)])

    def _batches(self, images: Sequence[Image.Image]) -> Iterator[Tensor]:
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            yield torch.stack([self.to_tensor(image) for image in part])

    def _features(self, images: Tensor) -> Tensor:
        features: Tensor = self.backbone(images.to(self.device))
        return features.flatten(1).float().cpu()


@dataclass(frozen=True)
class _Pair:
    """Two views of N images: features (N, F) each, and what was drawn, (N, P) each.

    ``drawn`` is ``None`` where the type has nothing to draw; then the first view is the plain one.
    """

    first: Tensor
    second: Tensor
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]] | None


def _pair(
    augmentation: Augmentation,
    squares: Sequence[Image.Image],
    plan: Plan,
    run: _Runner,
    plain: Tensor,
    seed: int,
) -> _Pair:
    views, parameters = [], []
    for number in range(2):
        rng = random.Random(f"{seed} {augmentation.name} {number}")
        drawn = [draw(augmentation, (plan.crop_size, plan.crop_size), rng) for _ in squares]
        parameters.append(np.array([list(each.values()) for each in drawn], dtype=np.float64))
        if number == 0 and is_switch(augmentation):
            views.append(plain)
            continue
        views.append(
            run(
                [
                    apply(square, augmentation.name, each, plan)
                    for square, each in zip(squares, drawn, strict=True)
                ]
            )
        )
    both = None if is_switch(augmentation) else (parameters[0], parameters[1])
    return _Pair(views[0], views[1], both)


def _measure(pair: _Pair, plain: Tensor, space: Space, seed: int) -> dict[str, float]:
    first, second, mean = space(pair.first), space(pair.second), space(plain).double().mean(0)
    same, different = _cosines(first.double() - mean, second.double() - mean)
    values = {"similarity": same, "invariance": (same - different) / max(1 - different, 1e-6)}
    order = np.random.default_rng(seed).permutation(len(first))
    half = len(order) // 2
    features = np.stack([first.double().numpy(), second.double().numpy()])
    if pair.drawn is None:
        values["told_accuracy"] = _told_accuracy(features, order[:half], order[half:])
        return values
    drawn = np.stack(pair.drawn)
    varies = drawn.std((0, 1)) > 1e-9
    if varies.any():
        values["told_r2"] = _told_r2(features, drawn[..., varies], order[:half], order[half:])
    return values


def _cosines(first: Tensor, second: Tensor) -> tuple[float, float]:
    """Mean cosine of the pairs, and of the first view of one image with another's second."""
    first, second = F.normalize(first), F.normalize(second)
    pairs = (first * second).sum()
    count = len(first)
    crossed = first.sum(0) @ second.sum(0) - pairs
    return float(pairs / count), float(crossed / (count * (count - 1)))


def _told_r2(
    features: NDArray[Any], drawn: NDArray[Any], train: NDArray[Any], test: NDArray[Any]
) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(np.concatenate(drawn[:, train]))
    targets = [scale.transform(view) for view in drawn]
    model = make_pipeline(StandardScaler(), RidgeCV(_L2_WEIGHTS, alpha_per_target=True))
    model.fit(np.concatenate(features[:, train]), np.concatenate([view[train] for view in targets]))
    predicted = model.predict(np.concatenate(features[:, test])).reshape(2 * len(test), -1)
    return float(r2_score(np.concatenate([view[test] for view in targets]), predicted))


def _told_accuracy(features: NDArray[Any], train: NDArray[Any], test: NDArray[Any]) -> float:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeClassifierCV(_L2_WEIGHTS))
    model.fit(np.concatenate(features[:, train]), np.repeat([0, 1], len(train)))
    predicted = model.predict(np.concatenate(features[:, test]))
    return 100 * float((predicted == np.repeat([0, 1], len(test))).mean())
