"""Vectors of images: a network's output for every one of them, in their order, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from mast_plugin.deployment.source import Label, Source, source_of
from mast_plugin.deployment.transform import ImageTransform
from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.features.extraction import View, evaluating, worker_context
from mast_plugin.loading.image import AS_SHOWN
from mast_plugin.running.progress import progress as progress_bar

PRECISIONS = ("float32", "bfloat16", "float16")
UNREADABLE = ("refuse", "list")


class Embedded(NamedTuple):
    """Vectors of N images.

    Attributes:
        features: (N, F) float32 on the CPU, in the images' order; a row of NaN where an image
            cannot be read.
        files: N names, or ``None`` for images without names.
        labels: N numbers or names, ``None`` where an image has none; or ``None`` for all.
        errors: N sentences, empty where an image was read; ``None`` where all were.
    """

    features: Tensor
    files: tuple[str, ...] | None
    labels: tuple[Label, ...] | None
    errors: tuple[str, ...] | None


@dataclass(frozen=True)
class Batch:
    """A part of the rows, as :class:`Embedded` has them; labels and errors one each."""

    features: Tensor
    labels: Sequence[Label]
    errors: Sequence[str]


@dataclass(frozen=True)
class Embedder:
    """How images go through a network.

    Attributes:
        model: images (N, 3, H, W) to vectors (N, F); what has more dimensions is flattened.
        transform: RGB image to a (3, H, W) tensor.
        options: further keywords of the model.
        batch_size: images at once; it changes nothing but rounding.
        device: where to run the model, which stays there.
        workers: processes that read images; 0 reads them in this process.
        precision: float32, or of autocast bfloat16 or float16.
        unreadable: ``refuse`` images that cannot be read, or ``list`` them.

    Raises:
        ConfigurationError: a precision or a rule that there is not.
    """

    model: nn.Module
    transform: View
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 256
    device: torch.device | str = "cpu"
    workers: int = 0
    precision: str = "float32"
    unreadable: str = "refuse"

    def __post_init__(self) -> None:
        for key, choices in (("precision", PRECISIONS), ("unreadable", UNREADABLE)):
            if getattr(self, key) not in choices:
                raise ConfigurationError(
                    f"{key} is {getattr(self, key)!r}; it must be one of {', '.join(choices)}"
                )

    def batches(self, source: Source, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Embed the images from ``start`` to before ``stop``, in their order.

        The model's training modes are restored at the end; the global random state is left alone.

        Raises:
            DataError: an image cannot be read, and such are refused.
        """
        rows = range(start, len(source) if stop is None else stop)
        pinned = torch.device(self.device).type == "cuda"
        loader = DataLoader(
            Subset(_Views(source, self.transform), rows),
            batch_size=self.batch_size,
            num_workers=self.workers,
            multiprocessing_context=worker_context(self.workers),
            collate_fn=_collated,
            pin_memory=pinned,
            generator=torch.Generator(),  # otherwise a seed is drawn from the global one
        )
        with evaluating(self.model.to(self.device)):
            for views, readable, labels, errors in loader:
                if self.unreadable == "refuse" and not all(readable):
                    raise DataError(next(filter(None, errors)))
                yield Batch(self._rows(views, readable), labels, errors)

    def _rows(self, views: Tensor | None, readable: Sequence[bool]) -> Tensor:
        """Vectors of a batch, with rows of NaN for what could not be read."""
        if views is None:  # the width is that of any image
            grey = self.transform(Image.new("RGB", (64, 64)))
            width = self._vectors(grey.unsqueeze(0)).shape[1]
            return torch.full((len(readable), width), torch.nan)
        vectors = self._vectors(views)
        if all(readable):
            return vectors
        rows = torch.full((len(readable), vectors.shape[1]), torch.nan)
        rows[torch.tensor(readable)] = vectors
        return rows

    def _vectors(self, views: Tensor) -> Tensor:
        with torch.inference_mode(), self._autocast():
            output = self.model(views.to(self.device, non_blocking=True), **self.options)
            vectors: Tensor = output.flatten(1).float().cpu()
        return vectors.clone()  # no inference tensor, so that a classifier can be trained on it

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, getattr(torch, self.precision))


def embed(
    model: nn.Module,
    images: Any,
    transform: Callable[[Any], Tensor],
    *,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    workers: int = 0,
    precision: str = "float32",
    unreadable: str = "refuse",
    progress: bool | None = None,
    **options: Any,
) -> Embedded:
    """Embed images: one vector each, in their order.

    Args:
        model: images (N, 3, H, W) to vectors (N, F), such as a backbone; used in evaluation mode.
        images: the path of a folder (at any depth), an image, a ``.csv`` table with a column
            ``file``, or of tar shards; a list of PIL images or paths; or a map-style dataset of
            torch or Hugging Face whose items are PIL images, tuples that begin with one, or
            mappings with an ``image``. They are read one batch at a time.
        transform: what :func:`~mast_plugin.deployment.opening.load_backbone` gives, or any function
            of an RGB image that makes a (3, H, W) tensor.
        batch_size: images at once.
        device: where to run the model, which stays there; by default the GPU where there is one.
        workers: processes that read images.
        precision: ``float32``, or of autocast ``bfloat16`` or ``float16``.
        unreadable: ``refuse`` images that cannot be read, or ``list`` them in ``errors``.
        progress: ``None``: a bar where standard error is a terminal, else a line now and then; or
            a bar in any case, or nothing.
        options: further keywords of the model.

    Returns:
        The vectors with names and labels, where the images have some. A folder's labels are the
        names of its folders.

    Raises:
        DataError: there are no images, or one cannot be read.
        ConfigurationError: a precision or a rule that there is not.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    embedder = Embedder(
        model, view_of(transform), options, batch_size, device, workers, precision, unreadable
    )
    reading = transform.reading if isinstance(transform, ImageTransform) else AS_SHOWN
    source = source_of(images, reading)
    features: Tensor | None = None
    labels: list[Label] = []
    errors: list[str] = []
    with progress_bar(None, "Embedding", total=len(source), unit="image", shown=progress) as bar:
        for batch in embedder.batches(source):
            if features is None:
                features = torch.empty(len(source), batch.features.shape[1])
            features[len(labels) : len(labels) + len(batch.labels)] = batch.features
            labels += batch.labels
            errors += batch.errors
            bar.update(len(batch.labels))
    assert features is not None  # a source without images is refused
    return Embedded(
        features,
        None if source.names is None else tuple(source.names),
        tuple(labels) if any(label is not None for label in labels) else None,
        tuple(errors) if any(errors) else None,
    )


def view_of(transform: Callable[[Any], Tensor]) -> View:
    """What a transform does to an image that has been read: it must not be turned twice."""
    return transform.view if isinstance(transform, ImageTransform) else transform


class _Views(Dataset[tuple[Tensor | None, Label, str]]):
    """Items of a source as views; what cannot be read comes as a sentence."""

    def __init__(self, source: Source, view: View) -> None:
        self._source, self._view = source, view

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[Tensor | None, Label, str]:
        try:
            image, label = self._source.item(index)
        except DataError as error:
            return None, self._source.label(index), str(error)
        return self._view(image), label, ""


_Collated = tuple[Tensor | None, list[bool], list[Label], list[str]]


def _collated(items: Sequence[tuple[Tensor | None, Label, str]]) -> _Collated:
    views = [view for view, _, _ in items if view is not None]
    return (
        torch.stack(views) if views else None,
        [view is not None for view, _, _ in items],
        [label for _, label, _ in items],
        [error for _, _, error in items],
    )
