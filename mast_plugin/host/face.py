"""What a host module must offer; the rest of the project uses nothing else of solo-learn."""

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

from omegaconf import DictConfig
from torch import nn

Transform = Callable[[Any], Any]


class Host(Protocol):
    """The names that both host modules define."""

    METHODS: dict[str, type]
    """solo-learn's registry of methods, the very object."""
    Method: Any
    """Base class of our method: built from ``cfg``; ``forward`` gives ``logits`` and ``feats``,
    ``training_step`` a mapping with ``loss`` and, for each output of ``forward``, the list of
    what the views gave."""
    Checkpointer: Any
    """solo-learn's checkpoint callback, ``(cfg, logdir, frequency, keep_prev)``; it saves the last
    epoch whatever the frequency."""
    engine: ModuleType
    """``pytorch_lightning`` or ``lightning.pytorch``."""

    def build(self, cfg: DictConfig) -> Any:
        """Build the method ``cfg.method`` from a resolved configuration."""

    def backbone(self, model: Any) -> nn.Module:
        """Return the network that outlives pretraining, without projector."""

    def momentum_backbone(self, model: Any) -> nn.Module | None:
        """Return the backbone's copy that follows it, of a method with momentum."""

    def method_options(self, name: str) -> frozenset[str]:
        """Names that ``method_kwargs`` may hold for a built-in method."""

    def trainer_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Translate Trainer options of the main branch (Lightning 2) to the engine's."""

    def foreign_transforms(self, trainer: Any, training: Transform, validation: Transform) -> None:
        """Replace the datasets' transforms where another script built the loaders.

        ``training`` takes the place of the training set's, unless that is of its type already, and
        ``validation`` of the validation set's, if there is one.
        """

    def complete_views(self, cfg: DictConfig) -> None:
        """Add to our view blocks, in place, what the host's own script reads of every block."""

    def linear_model(
        self,
        backbone: nn.Module,
        *,
        num_classes: int,
        max_epochs: int,
        batch_size: int,
        lr: float,
        weight_decay: float,
        lr_decay_epochs: Sequence[int],
    ) -> Any:
        """Build solo-learn's own linear evaluation: batches ``[images, labels]``, SGD.

        It freezes the backbone that it is given, which must have ``num_features`` (or ResNet's
        ``inplanes``), and it needs at least five classes. The rate, taken as it is, is divided by
        ten after each of ``lr_decay_epochs``; momentum is 0.9.
        """
