"""Logistic regression on frozen features, its L2 weight chosen on a validation split."""

from collections.abc import Sequence

from torch import Tensor

from mast_plugin.evaluation.labels.labelled import check_labelled
from mast_plugin.evaluation.labels.split import validation_split
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.accuracy import accuracy, rates
from mast_plugin.evaluation.protocols.logistic import Standardisation, fit_logistic, fit_path

VERSION = 1
"""Raised whenever the same features would get other numbers."""
CANDIDATES = tuple(10 ** (0.5 - 0.5 * step) for step in range(12))
_PATIENCE = 3


def linear_measurements(
    space: str,
    task: str,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    candidates: Sequence[float] = CANDIDATES,
    relevance: Tensor | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Accuracy of logistic regression on standardised features, its L2 weight chosen.

    The L2 weight is chosen on a stratified fifth of the training images, the classifier fitted
    again to all of them and the test images scored once.  Source of the protocol: AugSelf (Lee et
    al., NeurIPS 2021), which tries 45 values, log-spaced in 1e-6..1e5.

    The 12 defaults are this project's choice, half a decade apart from 3.2 down to 1e-5: fewer than
    AugSelf's, for speed.  On synthetic features (6,400 images, 512 features, 10 classes) the best
    lay well inside, and from 3e-3 downwards the training images were fitted without error.  A
    chosen weight at either end says to widen the candidates.

    Args:
        space: name of the representation.
        task: name of the task.
        train: (N, F) features.
        train_labels: (N,) labels, int64.
        test: (M, F) features.
        test_labels: (M,) labels.
        candidates: L2 weights to try, > 0; its convention is that of
            :mod:`~mast_plugin.evaluation.protocols.logistic`.
        relevance: (F,) in (0, 1], see :meth:`Standardisation.of`.
        seed: of the split and of the bootstrap.

    Returns:
        Rows of the protocol ``linear``: ``top1``, ``top5`` (above 5 classes) and
        ``mean_per_class``, with intervals over the bootstrap of the test images.

    Raises:
        ConfigurationError: a candidate is not positive, or there is none.
        DataError: features and labels do not match, or a class has one image only.
    """
    classes = check_labelled(train, train_labels, test, test_labels)
    l2_weight = choose_l2_weight(
        train, train_labels, classes, candidates=candidates, relevance=relevance, seed=seed
    )
    standardise = Standardisation.of(train, relevance)
    model = fit_logistic(standardise(train), train_labels, classes, l2_weight=l2_weight)
    found = accuracy(model.scores(standardise(test)), test_labels, seed=seed)
    return found.measurements(space, "linear", task, {"l2_weight": l2_weight})


def choose_l2_weight(
    train: Tensor,
    labels: Tensor,
    classes: int,
    *,
    candidates: Sequence[float] = CANDIDATES,
    relevance: Tensor | None = None,
    seed: int = 0,
) -> float:
    """The L2 weight with the best top-1 on a validation split; of equal ones the strongest.

    The path goes from strong to weak, where each fit is a good start of the next, and ends once
    three candidates in a row are below the best: the weaker ones only fit the noise closer.

    Args:
        train: (N, F) features.
        labels: (N,) labels in [0, classes).
        classes: number of classes.
        candidates: L2 weights, > 0.
        relevance: (F,) in (0, 1], see :meth:`Standardisation.of`.
        seed: of the split.

    Raises:
        ConfigurationError: a candidate is not positive, or there is none.
        DataError: a class has one image only.
    """
    fit, val = validation_split(labels, seed=seed)
    standardise = Standardisation.of(train[fit], relevance)
    path = fit_path(standardise(train[fit]), labels[fit], classes, l2_weights=candidates)
    held_out = standardise(train[val])
    best, chosen, falls = -1.0, 0.0, 0
    for l2_weight, model in path:
        top1 = rates(model.scores(held_out), labels[val])["top1"]
        if top1 > best:
            best, chosen = top1, l2_weight
        falls = falls + 1 if top1 < best else 0
        if falls == _PATIENCE:
            break
    return chosen
