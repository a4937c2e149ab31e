"""The online classifier of a momentum network, on fewer classes than both hosts reckon with."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

_LEAST = 5


def complete_momentum_classifier(model: Any) -> None:
    """Let a momentum network's classifier answer for five classes, which its top-5 asks for.

    Those that are none have the logit minus infinity: loss and gradients stay as they are.

    Args:
        model: of either host.
    """
    classifier = getattr(model, "momentum_classifier", None)
    if classifier is not None and classifier.out_features < _LEAST:
        classifier.register_forward_hook(padded)


def padded(_: Any, __: Any, logits: Tensor) -> Tensor:
    """A forward hook: (N, C) logits to (N, 5)."""
    return F.pad(logits, (0, _LEAST - logits.shape[1]), value=float("-inf"))
