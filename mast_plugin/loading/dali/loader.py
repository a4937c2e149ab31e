"""The loader of ``data.format=dali``: batches of views, made by a DALI pipeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from mast_plugin.errors import DataError
from mast_plugin.loading.dali.decoding import reason_of, undecodable
from mast_plugin.loading.dali.draw import Drawn, Draws
from mast_plugin.loading.dali.graph import build_pipeline
from mast_plugin.loading.dali.node import Device
from mast_plugin.loading.dali.operation import refuse_unsupported
from mast_plugin.loading.dali.source import Indexes, Source, faulty
from mast_plugin.views.difference import difference_of
from mast_plugin.views.pair import RoutedPair
from mast_plugin.views.plan import pair_of

Batch = list[Any]
_Meta = tuple[Indexes, Drawn]

_AHEAD = 2
"""Batches that the pipeline works on ahead."""


class DALILoader:
    """Batches ``[index, views, label]`` in solo-learn's format, shuffled anew for every epoch.

    ``views`` are float32 tensors **(N, 3, crop_size, crop_size)**; where routes are drawn, they are
    a :class:`~mast_plugin.views.pair.RoutedPair`, as of
    :class:`~mast_plugin.views.torchvision.RoutedViews`. An epoch gives every image once, but for
    those that do not fill a last batch; each process gets its own, equal part of it.

    The random order, the routes and the parameters depend on the seed, the epoch and the process
    alone. Both engines call :meth:`set_epoch` before they start an epoch, after a resumption as
    well; elsewhere, iterating again goes on with the next epoch.

    Args:
        source: the images.
        draws: what the views are made with.
        batch_size: N, of one process.
        seed: of all randomness.
        device: where images are decoded and changed; ``gpu`` is the process's current one.
        num_threads: of DALI, at least 1.

    Raises:
        ConfigurationError: a type that the device cannot do.
    """

    def __init__(
        self,
        source: Source,
        draws: Draws,
        *,
        batch_size: int,
        seed: int,
        device: Device,
        num_threads: int,
    ) -> None:
        for plan in draws.plans:
            refuse_unsupported(plan, device)
        self.source = source
        self.draws = replace(draws, in_passes=device == "cpu")
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.num_threads = max(1, num_threads)
        self._difference = None if draws.policy is None else difference_of(pair_of(*draws.plans))
        self._epoch = 0
        self._pipeline: Any = None
        self._pending: Iterator[tuple[Sequence[Any], _Meta]] = iter(())
        self._under_way: deque[_Meta] = deque()

    def __len__(self) -> int:
        """Batches of one epoch of one process."""
        _, num_processes = _process()
        return len(self.source.labels) // (self.batch_size * num_processes)

    @property
    def sampler(self) -> DALILoader:
        """Where the engines look for something that wants to be told the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is, counted from 0."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        """Go through one epoch.

        Raises:
            DataError: an image that cannot be decoded; the message names it.
        """
        epoch, self._epoch = self._epoch, self._epoch + 1
        if self._pipeline is None:
            self._pipeline = self._build()
        self._abandon()
        self._pending = self._feeds(epoch)
        for _ in range(len(self)):
            outputs = self._run()
            index, drawn = self._under_way.popleft()
            count = len(self.draws.plans)
            views = self._paired(outputs[:count], drawn, outputs[count:])
            label = torch.from_numpy(self.source.labels[index])
            yield [self._placed(torch.from_numpy(index)), views, self._placed(label)]

    def _build(self) -> Any:
        return build_pipeline(
            self.draws,
            self.source.read,
            self._feed,
            device=self.device,
            upright=self.source.reading.upright,
            batch_size=self.batch_size,
            num_threads=self.num_threads,
            device_id=torch.cuda.current_device() if self.device == "gpu" else None,
            prefetch_queue_depth=_AHEAD,
            seed=self.seed,
        )

    def _feed(self) -> Sequence[Any]:
        """The pipeline's input; called by it, ahead of time."""
        arrays, meta = next(self._pending)
        self._under_way.append(meta)
        return arrays

    def _feeds(self, epoch: int) -> Iterator[tuple[Sequence[Any], _Meta]]:
        """What an epoch feeds, batch by batch, with what comes along beside the pipeline."""
        rank, _ = _process()
        order = self.source.shuffled(np.random.default_rng([self.seed, epoch]))
        size = len(self) * self.batch_size
        batches = order[rank * size : (rank + 1) * size].reshape(-1, self.batch_size)
        rng = np.random.default_rng([self.seed, epoch, rank + 1])
        for position, indexes in enumerate(batches):
            following = batches[position + 1 : position + 2].ravel()
            drawn = self.draws.draw(self.batch_size, rng)
            fed = self.source.feed(indexes, following)
            yield [fed, *drawn.arrays.values()], (indexes.astype(np.int64), drawn)

    def _paired(
        self, views: list[Tensor], drawn: Drawn, frames: list[Tensor]
    ) -> RoutedPair | list[Tensor]:
        """Routed pairs; other views as they are."""
        if self._difference is None or drawn.route is None:
            return views
        numbers = []
        for applied, frame in zip(drawn.applied, frames, strict=True):
            corners = frame.numpy()
            box = np.concatenate([corners[:, :2], corners[:, 2:4] - corners[:, :2]], axis=1)
            numbers.append(self._difference.of_views(applied, box, corners[:, 4:]))
        first, second = views
        difference = torch.from_numpy(self._difference.between(*numbers))
        return RoutedPair(first, second, self._placed(drawn.route), self._placed(difference))

    def _run(self) -> list[Tensor]:
        try:
            outputs = self._pipeline.run()
        except DataError:  # an image that Pillow was to decode
            self._pipeline = None
            self._under_way.clear()
            raise
        except RuntimeError as error:
            self._pipeline = None
            raise self._explained(error) from error
        tensors = [from_dlpack(output.as_tensor()) for output in outputs]
        # On the CPU a tensor keeps DALI's buffer alive. On a GPU, torch might still be reading it
        # when DALI, on a stream of its own, takes it back: a copy there costs next to nothing.
        return [tensor.clone() for tensor in tensors] if self.device == "gpu" else tensors

    def _explained(self, error: RuntimeError) -> DataError:
        suspects = [index for indexes, _ in self._under_way for index in indexes]
        self._under_way.clear()
        sentences = faulty(self.source, suspects)
        sentences = sentences or undecodable(self.source, suspects, device=self.device)
        if sentences:
            others = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
            return DataError(f"{sentences[0]}{others}")
        return DataError(f"DALI stopped at one of {len(suspects)} images: {reason_of(error)}")

    def _abandon(self) -> None:
        """Let go of the batches that an interrupted epoch had under way."""
        self._pending = iter(())
        while self._under_way:
            self._run()
            self._under_way.popleft()
        self._pipeline.reset()

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.cuda(non_blocking=True) if self.device == "gpu" else tensor


def _process() -> tuple[int, int]:
    """This process's number and how many there are; asked late, as engines start them late."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
