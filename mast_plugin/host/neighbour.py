"""The hosts' online k-NN, told its distance."""

from typing import Any

from torch import nn
from torch.nn import functional as F


def nearest(classifier: Any, options: Any) -> Any:
    """Build a host's ``WeightedKNNClassifier`` for a configuration's ``knn_eval``.

    For ``cosine`` both hosts multiply features as they come, and raise e to that over 0.07. So here
    they are normalised on their way in.

    Args:
        classifier: the host's class.
        options: with ``k`` and ``distance_func``, ``euclidean`` or ``cosine``.
    """
    built = classifier(k=options.k, distance_fx=options.distance_func)
    if options.distance_func == "cosine":
        built.register_forward_pre_hook(_normalised, with_kwargs=True)
    return built


def _normalised(_: nn.Module, given: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    features = ("train_features", "test_features")
    return given, {k: F.normalize(v, dim=1) if k in features else v for k, v in named.items()}
