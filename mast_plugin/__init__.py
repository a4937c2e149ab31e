"""MAST, Masked Augmentation Subspace Training, for solo-learn.

The head, the loss and the routes need nothing but torch; :func:`load_backbone`, :func:`load_model`
and :func:`embed` put a pretrained network to use; :func:`register` adds the method ``mast`` to the
installed solo-learn. Names are imported when they are first used, so that a Hydra program that
merely has this package installed does not pay for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mast_plugin.core.head import SubspaceHead
    from mast_plugin.core.loss import MASTTerms, mast_loss, pair_weights
    from mast_plugin.core.options import LossOptions
    from mast_plugin.core.route import RoutePolicy
    from mast_plugin.deployment.embedding import embed
    from mast_plugin.deployment.opening import load_backbone, load_model
    from mast_plugin.deployment.subspace import SubspaceFeatures
    from mast_plugin.registration import register

__version__ = "0.1.0"
__all__ = [
    "LossOptions",
    "MASTTerms",
    "RoutePolicy",
    "SubspaceFeatures",
    "SubspaceHead",
    "embed",
    "load_backbone",
    "load_model",
    "mast_loss",
    "pair_weights",
    "register",
]

_HOMES = {
    "LossOptions": "core.options",
    "MASTTerms": "core.loss",
    "RoutePolicy": "core.route",
    "SubspaceFeatures": "deployment.subspace",
    "SubspaceHead": "core.head",
    "embed": "deployment.embedding",
    "load_backbone": "deployment.opening",
    "load_model": "deployment.opening",
    "mast_loss": "core.loss",
    "pair_weights": "core.loss",
    "register": "registration",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
