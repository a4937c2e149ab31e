"""How well frozen features solve a task: weighted nearest neighbours, and a linear classifier."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mast_plugin.errors import HostError
from mast_plugin.host.quiet import quiet_host

NEIGHBOURS = 20
TEMPERATURE = 0.07
L2_WEIGHT = 0.001


def knn_accuracy(
    train: Tensor,
    train_labels: Tensor,
    val: Tensor,
    val_labels: Tensor,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    classifier: Any = None,
) -> float:
    """Accuracy of the host's k-NN classifier, each vote weighing exp(cosine / temperature).

    Args:
        train: (N, F) features.
        train_labels: (N,) labels, int64.
        val: (M, F) features.
        val_labels: (M,) labels; they must hold each of the classes 0, 1, 2, ... at least once.
        neighbours: how many of the most similar training images vote.
        temperature: how much more the nearer ones count; > 0.
        classifier: the host's ``WeightedKNNClassifier``; by default it is imported.

    Returns:
        Accuracy in percent.

    Raises:
        HostError: solo-learn is not installed.
    """
    classifier = classifier or host_classifier()
    knn = classifier(k=neighbours, T=temperature, distance_fx="cosine")
    # One of the hosts normalises by itself, the other does not.
    knn.update(train_features=F.normalize(train), train_targets=train_labels)
    knn.update(test_features=F.normalize(val), test_targets=val_labels)
    # A torchmetrics instance hides its compute() behind one that gathers over all processes, which
    # waits forever when only one of them evaluates; the class still has its own.
    top1, _ = type(knn).compute(knn)
    return float(top1)


def host_classifier() -> Any:
    """Import the host's ``WeightedKNNClassifier``.

    Raises:
        HostError: solo-learn is not installed.
    """
    try:
        with quiet_host():
            from solo.utils.knn import WeightedKNNClassifier
    except ImportError as error:
        raise HostError("The k-NN accuracy needs solo-learn; install one of the hosts.") from error
    return WeightedKNNClassifier


def linear_accuracy(
    train: Tensor,
    train_labels: Tensor,
    val: Tensor,
    val_labels: Tensor,
    *,
    l2_weight: float = L2_WEIGHT,
    iterations: int = 1000,
) -> float:
    """Accuracy of a multinomial logistic regression on standardised features, fitted by L-BFGS.

    Args:
        train: (N, F) features.
        train_labels: (N,) labels.
        val: (M, F) features.
        val_labels: (M,) labels.
        l2_weight: weight of half the squared norm beside the *mean* loss, > 0.  A fixed value, for
            a quick table; this project's choice.
        iterations: an upper bound; the default strength needs far fewer.

    Returns:
        Accuracy in percent.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inverse_l2 = 1 / (l2_weight * len(train))  # scikit-learn weighs the sum of the losses
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_l2, max_iter=iterations, tol=1e-3)
    )
    model.fit(train.numpy(), train_labels.numpy())
    return 100 * float(model.score(val.numpy(), val_labels.numpy()))
