"""A classifier of very few labelled images, averaged over draws of them."""

from collections.abc import Sequence
from statistics import fmean

from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.interval import mean_interval
from mast_plugin.evaluation.labels.labelled import check_labelled
from mast_plugin.evaluation.labels.split import few_per_class
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.protocols.accuracy import rates
from mast_plugin.evaluation.protocols.logistic import Standardisation, fit_logistic

VERSION = 1
"""Raised whenever the same features would get other numbers."""
SHOTS = (5, 10)
DRAWS = 10
L2_WEIGHT = 0.1


def few_shot_measurements(
    space: str,
    task: str,
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = DRAWS,
    l2_weight: float = L2_WEIGHT,
    relevance: Tensor | None = None,
    seed: int = 0,
) -> list[Measurement]:
    """Accuracy of logistic regression on a few labelled images per class, mean over draws.

    The draws, the fixed L2 weight and the interval are this project's choice.  So few images leave
    none to choose an L2 weight on: a moderate one is fixed for every network alike (on features of
    a random network, anything from 1e-4 to 1 was within a point of the same accuracy).  Only labels
    are scarce, so the features are standardised by all training images: by the few, a feature that
    is rarely active would be blown up by chance.

    Args:
        space: name of the representation.
        task: name of the task.
        train: (N, F) features.
        train_labels: (N,) labels, int64.
        test: (M, F) features; all of them are classified for every draw.
        test_labels: (M,) labels.
        shots: numbers of labelled images per class; a row of its own for each.
        draws: how many times the labelled images are drawn, two or more; one draw of 5 is a part
            of the same draw of 10.
        l2_weight: > 0; see :mod:`~mast_plugin.evaluation.protocols.logistic` for the convention.
        relevance: (F,) in (0, 1], see
            :meth:`~mast_plugin.evaluation.protocols.logistic.Standardisation.of`.
        seed: the draws are those of the seeds ``seed``, ``seed + 1`` and so on.

    Returns:
        Rows of the protocols ``few-shot-5`` and so on: ``top1``, ``top5`` (above 5 classes) and
        ``mean_per_class``, each the mean over the draws with Student's 95 % interval of that mean,
        cut to [0, 100]; none with two draws.  It covers the luck of the draw, not of the test
        images.

    Raises:
        ConfigurationError: fewer than two draws, a shot below 1, or an L2 weight of 0 or less.
        DataError: features and labels do not match, or a class has fewer training images.
    """
    if draws < 2:
        raise ConfigurationError(f"{draws} draws have no spread: give 2 or more.")
    classes = check_labelled(train, train_labels, test, test_labels)
    standardise = Standardisation.of(train, relevance)
    train, test = standardise(train), standardise(test)
    rows: list[Measurement] = []
    for count in shots:
        found: list[dict[str, float]] = []
        for draw in range(seed, seed + draws):
            few = few_per_class(train_labels, count, seed=draw)
            model = fit_logistic(train[few], train_labels[few], classes, l2_weight=l2_weight)
            found.append(rates(model.scores(test), test_labels))
        for metric in found[0]:
            values = [scored[metric] for scored in found]
            ends = mean_interval(values) or ()
            rows.append(Measurement(space, f"few-shot-{count}", task, metric, fmean(values), *ends))
    return rows
