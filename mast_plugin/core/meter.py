"""What a run logs of every subspace, epoch by epoch."""

from collections.abc import Sequence

from torch import Tensor

from mast_plugin.core.subspace import effective_dimension, overlap, size


class SubspaceMeter:
    """Averages per-type errors and log-variances over an epoch and describes the masks at its end.

    Args:
        types: the K augmentation types' names, in the order of the masks' rows.
    """

    def __init__(self, types: Sequence[str]) -> None:
        self.types = tuple(types)
        self.reset()

    def reset(self) -> None:
        """Forget the epoch."""
        self._sums: dict[str, Tensor] = {}

    def update(self, pairs: Tensor, **means: Tensor) -> None:
        """Add a batch.

        Args:
            pairs: (K,) number of pairs on which each type was active.
            **means: (K,) each: means over those pairs, by name.
        """
        for name, values in {"pairs": pairs, **means}.items():
            weighted = values.detach() * (1 if name == "pairs" else pairs)
            self._sums[name] = self._sums.get(name, 0) + weighted

    def compute(self, masks: Tensor) -> dict[str, Tensor]:
        """Return ``subspace/<type>/<what>`` for every type, and forget the epoch.

        Args:
            masks: (K, D) in (0, 1].

        Returns:
            ``size`` (mean mask), ``effective_dimension`` (in dimensions), ``overlap`` (mean shared
            weight with the other subspaces, in [0, 1]) and the means that were given, over the
            epoch's pairs; each a scalar tensor.
        """
        measures = {"size": size(masks), "effective_dimension": effective_dimension(masks)}
        if len(self.types) > 1:
            shared = overlap(masks)
            measures["overlap"] = (shared.sum(1) - shared.diagonal()) / (len(self.types) - 1)
        pairs = self._sums.pop("pairs")
        measures |= {name: total / pairs.clamp(min=1) for name, total in self._sums.items()}
        self.reset()
        return {
            f"subspace/{kind}/{name}": values[k]
            for name, values in measures.items()
            for k, kind in enumerate(self.types)
        }
