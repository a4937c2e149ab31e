"""The representations that a network offers: backbone, embedding, and the masks' subspaces."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.features.store import project
from mast_plugin.evaluation.network.opening import Network


@dataclass(frozen=True)
class Representation:
    """A representation, computed from the backbone's features.

    Attributes:
        name: ``backbone``, ``embedding``, ``subspace <type>`` or ``subspaces <type>+<type>``.
        network: whose it is.
        mask: (D,) in (0, 1], what the embedding is multiplied by; ``None`` elsewhere.
    """

    name: str
    network: Network
    mask: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Map the backbone's features (N, F) to this representation's, (N, F) or (N, D)."""
        if self.name == "backbone":
            return features
        assert self.network.projector is not None
        embeddings = project(self.network.projector, features)
        return embeddings if self.mask is None else embeddings * self.mask


def representations(
    network: Network, combinations: Sequence[str] = ()
) -> tuple[Representation, ...]:
    """The representations of a network, from the whole to its parts.

    A pair is compared under the product of its active types' masks (see docs/method.md): so a
    combination is that product.

    Args:
        network: opened from a checkpoint.
        combinations: several types each, joined by ``+``.

    Returns:
        The backbone, then the embedding where there is a projector, then the embedding under each
        mask, unless there are none or all of them are one, then the combinations.

    Raises:
        ConfigurationError: a combination of an unknown type, or of a network without masks.
    """
    spaces = [Representation("backbone", network)]
    if network.projector is not None:
        spaces.append(Representation("embedding", network))
    masks, types = network.masks, network.types or ()
    if masks is None or bool((masks == 1).all()):
        if combinations:
            raise ConfigurationError(
                f"combinations={list(combinations)} needs masks, and this network has none: "
                "evaluate a MAST checkpoint, or leave combinations out"
            )
        return tuple(spaces)
    spaces += [
        Representation(f"subspace {kind}", network, mask)
        for kind, mask in zip(types, masks, strict=True)
    ]
    return (*spaces, *(_combined(network, names) for names in combinations))


def _combined(network: Network, names: str) -> Representation:
    assert network.masks is not None
    types = list(network.types or ())
    wanted = names.split("+")
    if unknown := sorted(set(wanted) - set(types)):
        raise ConfigurationError(
            f"combinations names {unknown[0]!r}, of which there is no mask: "
            f"join some of {', '.join(types)} by +"
        )
    masks = torch.stack([network.masks[types.index(name)] for name in wanted])
    return Representation(f"subspaces {names}", network, masks.prod(0))
