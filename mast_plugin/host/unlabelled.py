"""What both hosts say of an online classifier that has nothing to learn is kept out of the logs.

Without labels every image has label 0, so that the classifier is right each time; with up to five
classes the label is among the five likeliest each time.
"""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig
from torch import Tensor, nn


def withhold_accuracies(model: Any, cfg: DictConfig) -> Mapping[str, Tensor]:
    """Have a method log no number that cannot tell anything.

    Args:
        model: of either host; its ``log``, which ``log_dict`` calls, is wrapped.
        cfg: complete configuration: ``data.no_labels`` and ``data.num_classes`` decide.

    Returns:
        The online classifiers' losses of the last step, as far as they are withheld; it is filled
        while the model trains.
    """
    log, losses = model.log, dict[str, Tensor]()

    def log_what_tells(name: str, value: Any, *args: Any, **options: Any) -> None:
        if cfg.data.no_labels and name.endswith("class_loss"):
            losses[name] = value.detach()
        elif cfg.data.no_labels and name.rpartition("_")[2].startswith("acc"):
            pass  # some methods have another one, of nearest neighbours
        elif not (name.endswith("acc5") and cfg.data.num_classes <= 5):
            log(name, value, *args, **options)

    model.log = log_what_tells
    return losses


def embedder(model: Any, backbone: nn.Module) -> nn.Module:
    """The part of a method whose output is its embedding: the projector, or else the backbone.

    Args:
        model: of either host.
        backbone: of the model.
    """
    head = getattr(model, "head", None)
    # MAST's; most methods'; DINO's, whose head goes on to the prototypes.
    owners = ((head, "projector"), (model, "projector"), (head, "mlp"))
    found = (getattr(owner, name, None) for owner, name in owners)
    return next((part for part in found if isinstance(part, nn.Module)), backbone)
