"""The head: projector, one mask per type, predictor of differences, uncertainty network.

K augmentation types, D embedding dimensions, N images. All of it is dropped after pretraining:
downstream tasks see the features that enter here. Source: one embedding, a learnable mask per type
and an uncertainty are the paper's (arXiv 2303.03679); how masks are parametrised and what the
network is are this project's choice, see docs/method.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mast_plugin.core.equivariance import (
    DifferencePredictor,
    EquivarianceInput,
    predicted_difference,
)
from mast_plugin.core.mask import MaskMode, MaskStart, initial_logits
from mast_plugin.errors import ConfigurationError

UNCERTAINTY_WIDTH = 256


class SubspaceHead(nn.Module):
    """Maps features to embeddings, and holds the masks that select subspaces of them.

    Args:
        features_dim: Width of the features that enter.
        hidden_dim: Width of the projector's two hidden layers.
        embedding_dim: D, width of the embeddings.
        num_types: K, number of augmentation types.
        subspace_share: rho, in (0, 1): the expected mean of a mask at the start.
        mask_spread: Standard deviation of the initial mask logits, >= 0: how far the types differ
            at first.
        masks: "learned"; "fixed", drawn once and nearly binary whatever mask_spread is; or "none",
            all ones.
        mask_start: "random", or "blocks": each type leaves a block of dimensions of its own, see
            :func:`~mast_plugin.core.mask.block_masks`; mask_spread then plays no part.
        uncertainty: Whether to predict log-variances.
        difference_types: Which type each of the P numbers of a difference belongs to, in [0, K);
            empty for a head that predicts no differences.
        equivariance_on: "embedding": differences are predicted from it, outside of the masks; or
            "features": a network of its own predicts them from the backbone's, whatever the masks.

    Raises:
        ConfigurationError: A size is not positive, or an option is out of its range.
    """

    mask_logits: Tensor
    difference_types: Tensor

    def __init__(
        self,
        *,
        features_dim: int,
        hidden_dim: int,
        embedding_dim: int,
        num_types: int,
        subspace_share: float = 0.9,
        mask_spread: float = 1.0,
        masks: MaskMode = "learned",
        mask_start: MaskStart = "random",
        uncertainty: bool = True,
        difference_types: Sequence[int] = (),
        equivariance_on: EquivarianceInput = "embedding",
    ) -> None:
        super().__init__()
        _check_sizes(
            features_dim=features_dim,
            hidden_dim=hidden_dim,
            embedding_dim=embedding_dim,
            num_types=num_types,
        )
        self.projector = nn.Sequential(
            nn.Linear(features_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, embedding_dim),
        )
        shape = num_types, embedding_dim
        logits = initial_logits(shape, masks, mask_start, subspace_share, mask_spread)
        if masks == "learned":
            self.mask_logits = nn.Parameter(logits)
        else:
            self.register_buffer("mask_logits", logits)
        self.uncertainty = _uncertainty_network(features_dim, num_types) if uncertainty else None
        _check_types(difference_types, num_types)
        types = torch.tensor(difference_types, dtype=torch.int64)
        self.register_buffer("difference_types", types, persistent=False)
        on_features = equivariance_on == "features" and len(types) > 0
        self.predictor = (
            DifferencePredictor(features_dim, difference_types) if on_features else None
        )
        reads = len(types) > 0 and not on_features
        # The linear predictor; "reader" is its name in checkpoints.
        self.reader = nn.Linear(embedding_dim, len(types), bias=False) if reads else None
        # Without masks nothing would be outside: the whole embedding is used.
        self._reads_everything = masks == "none"

    @property
    def masks(self) -> Tensor:
        """The masks, (K, D), in (0, 1], at least float32 also under autocast."""
        dtype = torch.promote_types(self.mask_logits.dtype, torch.float32)
        return torch.sigmoid(self.mask_logits.to(dtype))

    def forward(self, features: Tensor) -> Tensor:
        """Project features of one view.

        Args:
            features: (N, features_dim).

        Returns:
            (N, D), the embeddings, unmasked: the loss applies the masks.
        """
        embeddings: Tensor = self.projector(features)
        return embeddings

    def log_variance(self, features1: Tensor, features2: Tensor) -> Tensor | None:
        """Predict how uncertain a pair is, for each type; the order of the views does not matter.

        Args:
            features1: (N, features_dim), of the first view; detached here.
            features2: (N, features_dim), of the second view; detached here.

        Returns:
            (N, K), unbounded, near zero at the start, at least float32; None without uncertainty.
        """
        if self.uncertainty is None:
            return None
        first, second = features1.detach(), features2.detach()
        pair = torch.cat([(first + second) / 2, (first - second).abs()], dim=1)
        prediction: Tensor = self.uncertainty(pair)
        return prediction.to(torch.promote_types(prediction.dtype, torch.float32))

    def predicted_difference(
        self, embeddings1: Tensor, embeddings2: Tensor, route: Tensor
    ) -> Tensor | None:
        """Predict, from the dimensions outside of each mask, how the views differ in its type.

        Args:
            embeddings1: (N, D), of the first view; of the global batch, over which lengths are
                measured.
            embeddings2: (N, D), of the second view.
            route: (N, K), bool: which types are active on the pair.

        Returns:
            (N, P), at least float32; None for a head that predicts no differences here.
        """
        if self.reader is None:
            return None
        masks = self.masks
        outside = torch.ones_like(masks) if self._reads_everything else 1 - masks
        weight: Tensor = self.reader.weight
        return predicted_difference(
            embeddings1, embeddings2, outside, self.difference_types, weight, route
        )

    def predicted_from_features(self, features1: Tensor, features2: Tensor) -> Tensor | None:
        """Predict how the views differ from the features of both.

        Args:
            features1: (N, features_dim), of the first view; not detached.
            features2: (N, features_dim), of the second view.

        Returns:
            (N, P), at least float32; None for a head that predicts no differences.
        """
        if self.predictor is None:
            return None
        predicted: Tensor = self.predictor(features1, features2)
        return predicted

    @property
    def mask_parameters(self) -> list[nn.Parameter]:
        """The mask logits, for an optimiser group; empty unless they are learned."""
        return [self.mask_logits] if isinstance(self.mask_logits, nn.Parameter) else []

    @property
    def uncertainty_parameters(self) -> list[nn.Parameter]:
        """The uncertainty network's parameters, for an optimiser group; may be empty."""
        return [] if self.uncertainty is None else list(self.uncertainty.parameters())


def _uncertainty_network(features_dim: int, num_types: int) -> nn.Sequential:
    # Normalising mean and difference together keeps their ratio: how far the views are apart.
    last = nn.Linear(UNCERTAINTY_WIDTH, num_types)
    nn.init.normal_(last.weight, std=1e-3)
    nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.LayerNorm(2 * features_dim),
        nn.Linear(2 * features_dim, UNCERTAINTY_WIDTH),
        nn.ReLU(),
        last,
    )


def _check_types(difference_types: Sequence[int], num_types: int) -> None:
    if not all(0 <= each < num_types for each in difference_types):
        raise ConfigurationError(
            f"difference_types must lie in [0, {num_types}), got {list(difference_types)}"
        )


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ConfigurationError(f"{name} must be at least 1, got {value}")
