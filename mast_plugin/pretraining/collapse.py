"""What a run without labels logs in place of accuracies: its loss, and the embedding's spread."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from mast_plugin.evaluation.protocols.labelfree import feature_std, rankme

SPREAD = ("train_loss", "embedding_std", "embedding_rankme")
"""The method's loss, a mean over the epoch's steps; standard deviation and RankMe as of
:mod:`mast_plugin.evaluation.protocols.labelfree`."""
IMAGES = 1024
"""So many images, the last of an epoch, are measured, as a process sees them; RankMe is at most
their number. This project's choice: the singular values take about a second on one core."""
SPREAD_NOTE = (
    "(of the last epoch; std from 0, collapsed, to 1, and rankme up to the number of images "
    f"measured, its last {IMAGES:,} at most)\n"
)


def embedding_meter(engine: ModuleType, part: nn.Module, withheld: Mapping[str, Tensor]) -> Any:
    """A callback that logs ``SPREAD`` at every epoch's end, of the first process's images.

    The embeddings are those that training computes anyway, of the first view and in training mode,
    while the weights still move: no image is loaded or passed through the network for it.

    Args:
        engine: whose ``Callback`` it is.
        part: of the method, whose output is the embedding; (N, D) for N images.
        withheld: losses in the total that are not the method's, of the last step.
    """

    class EmbeddingMeter(engine.Callback):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.last = _LastEmbeddings()
            self.losses: list[Tensor] = []

        def on_train_start(self, *_: Any) -> None:
            self.hook = part.register_forward_hook(self.last.keep)

        def teardown(self, *_: Any, **__: Any) -> None:
            if hasattr(self, "hook"):
                self.hook.remove()

        def on_train_batch_start(self, *_: Any) -> None:
            self.last.is_first_view = True

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, *_: Any, **__: Any
        ) -> None:
            # The engine has divided it.
            total = outputs["loss"].detach() * trainer.accumulate_grad_batches
            self.losses.append(total - sum(withheld.values()))

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if not self.losses:  # an epoch without a step
                return
            embeddings, loss = self.last.take(), torch.stack(self.losses).mean()
            self.losses = []
            values = (loss, feature_std(embeddings), rankme(embeddings))
            options = {"sync_dist": True, "rank_zero_only": True}  # neither exchanged nor warned of
            module.log_dict(dict(zip(SPREAD, values, strict=True)), **options)

    return EmbeddingMeter()


class _LastEmbeddings:
    """The embeddings of the first views of the last images, on the device that made them."""

    def __init__(self) -> None:
        self.is_first_view = False
        self._kept: list[Tensor] = []

    def keep(self, module: nn.Module, _: Any, output: Any) -> None:
        """A forward hook, for one step's first view."""
        if not (module.training and self.is_first_view):
            return
        self.is_first_view = False
        output = output[0] if isinstance(output, tuple) else output
        self._kept.append(output.detach().flatten(1))
        while sum(map(len, self._kept[1:])) >= IMAGES:
            self._kept.pop(0)

    def take(self) -> Tensor:
        """At most ``IMAGES`` embeddings, (N, D) float32 on the CPU, and forget them."""
        kept, self._kept = self._kept, []
        return torch.cat(kept)[-IMAGES:].float().cpu()
