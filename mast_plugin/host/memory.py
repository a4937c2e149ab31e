"""Memories that some methods of both hosts make when training starts, and save with their weights.

DeepClusterV2 keeps every image's embedding, SwAV a queue of them; All4One's encoding of positions
keeps what it computed last. A model that has only been built
has no place for them, so that neither a resumption nor an evaluation would take their checkpoints.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mast_plugin.errors import ConfigurationError

METHODS = ("all4one", "deepclusterv2", "swav")
_NAMES = ("local_memory_index", "local_memory_embeddings", "queue")
_CACHES = ("pos_enc.penc.penc.cached_penc",)
"""Computed again when they are wanted."""


def late(model: nn.Module, state: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in a state that the model has no place for before training starts."""
    own = model.state_dict()
    return tuple(name for name in (*_NAMES, *_CACHES) if name in state and name not in own)


class LateMemory:
    """Mixin that gives a resumed run its memories back, once the host has made room for them."""

    _memories: Mapping[str, Tensor] = {}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the memories out of a checkpoint, before its weights are loaded."""
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        state = checkpoint["state_dict"]
        found = {name: state.pop(name) for name in late(self, state)}  # type: ignore[arg-type]
        self._memories = {name: value for name, value in found.items() if name not in _CACHES}

    def on_train_start(self) -> None:
        """Put them where the host has made room.

        Raises:
            ConfigurationError: they do not fit, or are one process's where several train.
        """
        super().on_train_start()  # type: ignore[misc]
        for name, memory in self._memories.items():
            place = getattr(self, name)
            if self.trainer.world_size > 1 or place.shape != memory.shape:  # type: ignore[attr-defined]
                raise ConfigurationError(
                    f"this run cannot be resumed: the checkpoint's {name} is one process's, of "
                    f"{len(memory)} entries; train in one process on the same images and batch size"
                )
            place.copy_(memory)
