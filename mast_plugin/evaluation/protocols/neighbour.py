"""Weighted nearest neighbours: the strongest setting on a validation split, tested once."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.labels.labelled import check_labelled
from mast_plugin.evaluation.labels.split import validation_split
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.accuracy import accuracy

VERSION = 2
"""Raised whenever the same features would get other numbers."""
NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)
TEMPERATURES = (0.02, 0.05, 0.07, 0.1, 0.2, 0.5)
_COLDEST = 0.0125  # exp(1 / T) must stay far below the largest float32, about exp(88)
_CELLS = 2**24  # of the largest tensor that is made: 64 MiB of float32

Setting: TypeAlias = tuple[int, float]
"""Number of neighbours, and temperature."""


def knn_measurements(
    space: str,
    task: str,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 0,
) -> list[Measurement]:
    """Accuracy of the host's weighted k-NN, with the setting that is best on a validation split.

    The setting is chosen on a stratified fifth of the training images; then all of them vote, and
    the test images are classified with that one setting.  The votes are those of solo-learn's
    ``WeightedKNNClassifier``, which reports neither the mean per class nor intervals (bootstrap of
    the test images).  Classes with equal votes rank by their index, in the host by chance.

    Args:
        space: name of the representation.
        task: name of the task.
        train: (N, F) features, any lengths; they are L2-normalised here.
        train_labels: (N,) labels, int64.
        test: (M, F) features.
        test_labels: (M,) labels; every class of the training images must occur.
        neighbours: numbers of neighbours to try; one above the images at hand is left out.
        temperatures: to try; a vote weighs exp(cosine / temperature); at least 0.0125.
        seed: of the split and of the bootstrap.

    Returns:
        Rows of the protocol ``knn``: ``top1``, ``top5`` and ``mean_per_class``.  The top-5 is left
        out for 5 classes or fewer, and where fewer than 5 neighbours were chosen.

    Raises:
        ConfigurationError: no setting is left to try, or one is out of range.
        DataError: features and labels do not match or lack a class.
    """
    classes = _check(train, train_labels, test, test_labels)
    train, test = F.normalize(train), F.normalize(test)
    (k, temperature), validated = choose_setting(
        train, train_labels, classes, neighbours=neighbours, temperatures=temperatures, seed=seed
    )
    scores = knn_scores(train, train_labels, test, classes, neighbours=k, temperature=temperature)
    rows = accuracy(scores, test_labels, seed=seed).measurements(
        space, "knn", task, {"k": k, "temperature": temperature, "validation_top1": validated}
    )
    return [row for row in rows if row.metric != "top5" or k >= 5]


def choose_setting(
    train: Tensor,
    labels: Tensor,
    classes: int,
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperatures: Sequence[float] = TEMPERATURES,
    seed: int = 0,
) -> tuple[Setting, float]:
    """The setting with the best top-1 on a validation split, and that accuracy in percent.

    Of equally good settings the one with more neighbours is taken, then the higher temperature:
    it depends least on single images.

    Args:
        train: (N, F) L2-normalised features.
        labels: (N,) labels in [0, classes).
        classes: number of classes.
        neighbours: see :func:`knn_measurements`.
        temperatures: see :func:`knn_measurements`.
        seed: of the split.

    Raises:
        ConfigurationError: no setting is left to try, or one is out of range.
        DataError: a class has one image only.
    """
    fit, val = validation_split(labels, seed=seed)
    counts = sorted({count for count in neighbours if count <= len(fit)})
    if not counts or counts[0] < 1 or not temperatures or min(temperatures) < _COLDEST:
        raise ConfigurationError(
            f"{list(neighbours)} neighbours at the temperatures {list(temperatures)} cannot be "
            f"tried: give counts from 1 to {len(fit)} and temperatures of {_COLDEST} or more."
        )
    settings = [(count, heat) for heat in sorted(temperatures) for count in counts]
    fit_labels, val_labels = labels[fit], labels[val]
    correct = torch.zeros(len(settings), dtype=torch.int64, device=train.device)
    for part, similarity, voters in _nearest(train[fit], train[val], counts[-1], classes):
        votes = _votes(similarity, fit_labels[voters], classes, counts, sorted(temperatures))
        right = val_labels[part]
        correct += torch.stack([(vote.argmax(1) == right).sum() for vote in votes])
    most, setting = max(zip(correct.tolist(), settings, strict=True))
    return setting, 100 * most / len(val)


def knn_scores(
    train: Tensor,
    labels: Tensor,
    queries: Tensor,
    classes: int,
    *,
    neighbours: int,
    temperature: float,
) -> Tensor:
    """Every class's votes for every query.

    Args:
        train: (N, F) L2-normalised features.
        labels: (N,) labels in [0, classes).
        queries: (M, F) L2-normalised features.
        classes: number of classes.
        neighbours: how many of the most similar training images vote, in [1, N].
        temperature: a vote weighs exp(cosine / temperature).

    Returns:
        (M, classes) sums of votes, float32.
    """
    scores = torch.empty(len(queries), classes, device=queries.device)
    for part, similarity, voters in _nearest(train, queries, neighbours, classes):
        (scores[part],) = _votes(similarity, labels[voters], classes, [neighbours], [temperature])
    return scores


def _nearest(
    train: Tensor, queries: Tensor, count: int, classes: int
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Chunks of queries with the similarities and indices of their nearest, nearest first."""
    size = max(1, _CELLS // max(len(train), classes))
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        similarity, indices = (queries[part] @ train.T).topk(count)
        yield part, similarity, indices


def _votes(
    similarity: Tensor,
    voters: Tensor,
    classes: int,
    counts: Sequence[int],
    temperatures: Sequence[float],
) -> Iterator[Tensor]:
    """Votes of the first so many neighbours, counts ascending, temperature by temperature.

    Each count only adds the neighbours that the one before it lacks.  What is yielded is reused:
    take from it what is needed before the next.
    """
    for temperature in temperatures:
        weight = (similarity.float() / temperature).exp()
        votes = weight.new_zeros(len(weight), classes)
        before = 0
        for count in counts:
            votes.scatter_add_(1, voters[:, before:count], weight[:, before:count])
            before = count
            yield votes


def _check(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> int:
    classes = check_labelled(train, train_labels, test, test_labels)
    # Solo-learn's classifier, whose accuracies these are, counts the classes of the test labels.
    if missing := set(range(classes)) - set(test_labels.tolist()):
        raise DataError(
            f"Class {min(missing)} has no test image, and the host's k-NN knows no class without: "
            "number the classes that occur from 0, or add test images."
        )
    return classes
