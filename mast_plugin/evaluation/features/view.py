"""The views of evaluation: centred for measuring, cropped and mirrored for training on labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mast_plugin.evaluation.features.extraction import ImageFiles, View
from mast_plugin.evaluation.network.opening import Network
from mast_plugin.loading.image import AS_SHOWN, Reading
from mast_plugin.views.augmentation import Augmentation
from mast_plugin.views.plan import IMAGENET_MEAN, IMAGENET_STD, Plan, ViewSpec
from mast_plugin.views.torchvision import CentredView, PlainViews


@dataclass(frozen=True)
class ViewStatistics:
    """Size and normalisation that a network expects of its views, and how images are read.

    Attributes:
        crop_size: side of the square view in pixels.
        mean: per channel (RGB), subtracted from values in [0, 1].
        std: per channel, what the difference is divided by.
        reading: how files become images.
    """

    crop_size: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    reading: Reading = AS_SHOWN

    @classmethod
    def of(cls, network: Network, given: Mapping[str, Any]) -> "ViewStatistics":
        """The network's own; of bare weights, 224 px and ImageNet's statistics.

        Args:
            network: opened from a checkpoint.
            given: what goes before that, by the names of an evaluation's section ``view``; ``None``
                is not given.

        Raises:
            ConfigurationError: an orientation or a depth that cannot be.
        """
        given = {key: value for key, value in given.items() if value is not None}
        data = (network.cfg or {}).get("data")
        stored = data if isinstance(data, Mapping) else {}
        return cls(
            given.get("crop_size") or network.crop_size or 224,
            tuple(given.get("mean") or network.mean or IMAGENET_MEAN),
            tuple(given.get("std") or network.std or IMAGENET_STD),
            Reading.of({**stored, **given}),
        )

    def centred(self) -> CentredView:
        """The view of evaluation."""
        return CentredView(self.crop_size, self.mean, self.std)

    def training(self, *, flip: bool, min_scale: float = 0.08) -> "TrainingView":
        """The usual view of training on labels: a random box, half of the time mirrored.

        Args:
            flip: off where left and right matter to the task.
            min_scale: smallest share of the image's area that a box covers.
        """
        types = [Augmentation("crop", 1.0, {"min_scale": min_scale})]
        if flip:
            types.append(Augmentation("horizontal_flip", 0.5))
        return TrainingView(Plan(self.crop_size, tuple(types), self.mean, self.std))


class TrainingView:
    """An RGB image to one augmented view (3, crop_size, crop_size); torch's global generator rules.

    Args:
        plan: what can happen to it.
    """

    def __init__(self, plan: Plan) -> None:
        self._views = PlainViews([ViewSpec(plan, 1)])

    def __call__(self, image: Image.Image) -> Tensor:
        """Make the view.

        Raises:
            DataError: the image is not RGB.
        """
        return self._views(image)[0]


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Image files with the labels of one task, as views.

    Args:
        files: the N images.
        labels: (N,) labels, int64.
        view: turns an RGB image into a tensor.
        reading: how files become images.
    """

    def __init__(
        self, files: Sequence[Path], labels: Tensor, view: View, reading: Reading = AS_SHOWN
    ) -> None:
        self._images = ImageFiles(files, view, reading)
        self._labels = labels.tolist()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._images[index], self._labels[index]
