"""Parts of the training images, drawn class by class, so that every part has every class."""

import torch
from torch import Tensor

from mast_plugin.errors import ClassError, ConfigurationError, DataError

VALIDATION_SHARE = 0.2


def validation_split(
    labels: Tensor, share: float = VALIDATION_SHARE, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Splits training images in two, to fit on one part and to choose on the other.

    Each class gives the rounded share of its images, but at least one, and keeps at least one.

    Args:
        labels: (N,) labels, int64; an index between them may be unused.
        share: share of the second part, in (0, 1).
        seed: of the draw; the same labels and seed give the same split.

    Returns:
        Indices of the images to fit on and of those to choose on, each ascending, (N - V,) and
        (V,).

    Raises:
        ConfigurationError: the share is not in (0, 1).
        DataError: a class has one image only.
    """
    if not 0 < share < 1:
        raise ConfigurationError(f"The validation share is {share}; it must lie between 0 and 1.")
    counts = _counts_of_at_least(2, labels, "to split them for validation")
    quota = (share * counts).round().long().clamp(min=1).minimum(counts - 1)
    chosen = _rank_in_class(labels, seed) < quota[labels]
    return (~chosen).nonzero().flatten(), chosen.nonzero().flatten()


def few_per_class(labels: Tensor, count: int, seed: int = 0) -> Tensor:
    """Draws the same number of images from every class; fewer are a part of more.

    Args:
        labels: (N,) labels, int64.
        count: images per class, at least 1.
        seed: of the draw.

    Returns:
        (count * C,) indices, ascending, for C classes that occur.

    Raises:
        ConfigurationError: the count is below 1.
        DataError: a class has fewer images.
    """
    if count < 1:
        raise ConfigurationError(f"{count} images per class are no training set; give at least 1.")
    _counts_of_at_least(count, labels, f"to draw {count} of each")
    return (_rank_in_class(labels, seed) < count).nonzero().flatten()


def label_fraction(labels: Tensor, share: float, seed: int = 0) -> Tensor:
    """Draws a share of every class, rounded, at least one image; less is a part of more.

    Args:
        labels: (N,) labels, int64.
        share: share of the labels, in (0, 1].
        seed: of the draw.

    Returns:
        The images' indices, ascending.

    Raises:
        ConfigurationError: the share is not in (0, 1].
        DataError: there are no labels.
    """
    if not 0 < share <= 1:
        raise ConfigurationError(f"The share of labels is {share}; it must lie in (0, 1].")
    counts = _counts_of_at_least(1, labels, "to draw a share of them")
    quota = (share * counts).round().long().clamp(min=1)
    return (_rank_in_class(labels, seed) < quota[labels]).nonzero().flatten()


def _counts_of_at_least(least: int, labels: Tensor, purpose: str) -> Tensor:
    """How many images each class has, (C,); a class that does not occur is none."""
    if labels.numel() == 0:
        raise DataError(f"There are no labels, and it takes some {purpose}.")
    counts = torch.bincount(labels)
    scarce = ((counts > 0) & (counts < least)).nonzero().flatten().tolist()
    if scarce:
        found = int(counts[scarce[0]])
        raise ClassError(
            scarce[0],
            f"has {found} training image{'s' if found > 1 else ''}, and it takes "
            f"{least} {purpose}: add images, or drop the class from the table.",
        )
    return counts


def _rank_in_class(labels: Tensor, seed: int) -> Tensor:
    """Every image's place, from 0, in a random order of its class, (N,)."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = shuffled.to(labels.device)
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    counts = torch.bincount(labels)
    first = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels), device=labels.device) - first[labels[by_class]]
    return rank
