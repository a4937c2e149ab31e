"""Features with labels, checked before anything is fitted to them."""

import torch
from torch import Tensor

from mast_plugin.errors import ClassError, DataError


def check_finite(features: Tensor) -> None:
    """Refuses features that no distance or classifier can be computed of.

    Args:
        features: (N, F), at least one image.

    Raises:
        DataError: there are no features, they are no matrix, or a value is not finite.
    """
    if features.ndim != 2 or features.numel() == 0:
        raise DataError(
            f"Features of the shape {tuple(features.shape)} cannot be measured: "
            "give a matrix with a row for every image."
        )
    if not torch.isfinite(features).all():
        raise DataError(
            "The features hold values that are not finite: "
            "evaluate a checkpoint whose training did not diverge."
        )


def check_labelled(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> int:
    """Checks that a classifier of the training features can be scored on the test features.

    Args:
        train: (N, F) features.
        train_labels: (N,) labels from 0, int64.
        test: (M, F) features.
        test_labels: (M,) labels.

    Returns:
        The number of classes: the largest training label and one more.

    Raises:
        DataError: shapes do not match, values are not finite, there is one class only, or the
            training images lack a class of the test images.
    """
    check_finite(train)
    check_finite(test)
    shapes = [tuple(part.shape) for part in (train, train_labels, test, test_labels)]
    expected = [shapes[0], shapes[0][:1], (shapes[2][0], shapes[0][1]), shapes[2][:1]]
    if shapes != expected:
        raise DataError(
            f"Features and labels have the shapes {shapes}: give a label for every image, "
            "and features of the same network for both splits."
        )
    known = torch.unique(train_labels)
    if len(known) < 2 or int(known[0]) < 0:
        raise DataError(
            f"The training labels are {known.tolist()}: give two or more classes, from 0."
        )
    if unknown := set(torch.unique(test_labels).tolist()) - set(known.tolist()):
        raise ClassError(
            min(unknown), "occurs in the test images only: every class must have training images."
        )
    return int(known[-1]) + 1
