"""The protocols by name: what each measures of a network, on which spaces and tasks."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mast_plugin.core.route import RoutePolicy
from mast_plugin.evaluation import version
from mast_plugin.evaluation.features.extraction import evaluating
from mast_plugin.evaluation.features.representation import Representation
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.labels.tasks import Task, TaskTable
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.evaluation.network.opening import Network
from mast_plugin.evaluation.protocols import (
    accuracy,
    fewshot,
    finetune,
    labelfree,
    lightning_linear,
    linear,
    neighbour,
    profile,
)
from mast_plugin.loading.image import load_image
from mast_plugin.views.torchvision import RoutedViews


@dataclass(frozen=True)
class Context:
    """What every protocol is given: a network, the data, the views and the settings.

    Attributes:
        network: opened from a checkpoint.
        table: images and tasks; its validation split is the test set.
        spaces: the representations, the backbone first.
        statistics: the view that a network expects.
        train: (N, F) features of the backbone.
        test: (M, F) likewise.
        device: where to run the backbone.
        batch_size: images per forward pass.
        workers: processes that read images.
        unmirrored: tasks for which left and right matter.
        masked: protocols that measure the subspaces, too.
        epochs: of ``lightning-linear`` and ``finetune``; their own defaults where it is silent.
        seed: of every split, draw and bootstrap.
    """

    network: Network
    table: TaskTable
    spaces: tuple[Representation, ...]
    statistics: ViewStatistics
    train: Tensor
    test: Tensor
    device: torch.device
    batch_size: int = 256
    workers: int = 0
    unmirrored: Collection[str] = ()
    masked: Collection[str] = ()
    epochs: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def representations_of(self, protocol: str) -> tuple[Representation, ...]:
        """The spaces that a protocol measures."""
        return tuple(s for s in self.spaces if s.mask is None or protocol in self.masked)


Step = tuple[str, Callable[[], list[Measurement]]]
"""What is done, for a progress bar, and a call that does it."""


@dataclass(frozen=True)
class Protocol:
    """How something is measured.

    Attributes:
        steps: makes the work in a context, given the protocol's name.
        version: of the code, see there.
        measures: every metric that it gives; one that is new has old evaluations made again.
        settings: the constants that it measures with, as plain values.
    """

    steps: Callable[[Context, str], Iterator[Step]]
    version: int
    measures: tuple[str, ...] = accuracy.MEASURES
    settings: Mapping[str, Any] = field(default_factory=dict)


def definitions(protocols: Collection[str]) -> dict[str, Any]:
    """What the protocols' numbers depend on beside network, images and options; plain values."""
    shared = {"loading": version.LOADING, "views": version.VIEWS}
    listed = {name: protocol for name, protocol in PROTOCOLS.items() if name in protocols}
    return shared | {
        name: {
            "version": protocol.version,
            "measures": list(protocol.measures),
            "settings": dict(protocol.settings),
        }
        for name, protocol in listed.items()
    }


def steps(context: Context, protocols: Collection[str]) -> Iterator[Step]:
    """The work, in the order of ``PROTOCOLS``, in pieces short enough for a progress bar."""
    for name, protocol in PROTOCOLS.items():
        if name in protocols:
            yield from protocol.steps(context, name)


def _per_task(
    measure: Callable[..., list[Measurement]], masked: bool, context: Context, protocol: str
) -> Iterator[Step]:
    for space in context.representations_of(protocol):
        features: list[Tensor] = []  # of one space at a time, made when its first task needs them
        for task in context.table.tasks:

            def step(
                space: Representation = space,
                features: list[Tensor] = features,
                task: Task = task,
            ) -> list[Measurement]:
                if not features:
                    features += [space(context.train), space(context.test)]
                train, test = task.of_train(features[0]), task.of_val(features[1])
                # A classifier that standardises its features would undo a mask: it is told of it.
                extra = {"relevance": space.mask} if masked else {}
                given = (space.name, task.name, train, task.train, test, task.val)
                with task.named():
                    return measure(*given, seed=context.seed, **extra)

            yield f"{protocol} {space.name} {task.name}", step


def _label_free(context: Context, protocol: str) -> Iterator[Step]:
    def step() -> list[Measurement]:
        views = _positive_pairs(context)
        rows: list[Measurement] = []
        for space in context.representations_of(protocol):
            pairs = None if views is None else (space(views[0]), space(views[1]))
            features = space(context.test)
            rows += labelfree.label_free_measurements(
                space.name, features, pairs, seed=context.seed
            )
        return rows

    yield protocol, step


def _positive_pairs(context: Context) -> tuple[Tensor, Tensor] | None:
    """Features of two complete views of test images; ``None`` where the views are not known."""
    plan = context.network.plan
    if plan is None:
        return None
    make = RoutedViews(plan, RoutePolicy(full_prob=1.0))
    network, found = context.network.backbone.to(context.device), []
    with torch.random.fork_rng(devices=[]), evaluating(network), torch.inference_mode():
        torch.manual_seed(context.seed)
        order = torch.randperm(len(context.table.val_files))[: profile.NUM_IMAGES].tolist()
        for start in range(0, len(order), context.batch_size):
            chosen = order[start : start + context.batch_size]
            files = [str(context.table.val_files[i]) for i in chosen]
            pairs = [make(load_image(file, context.statistics.reading)) for file in files]
            views = [view for pair in pairs for view in (pair.first, pair.second)]
            images = torch.stack(views).to(context.device)
            found.append(network(images).flatten(1).float().cpu())
    features = torch.cat(found)
    return features[::2].clone(), features[1::2].clone()


def _invariance(context: Context, protocol: str) -> Iterator[Step]:
    statistics = context.statistics
    every = profile.full_plan(statistics.crop_size, statistics.mean, statistics.std)
    measure = partial(
        profile.invariance_profile,
        context.network.backbone,
        context.table.val_files,
        context.network.plan or every,
        reading=statistics.reading,
        spaces={space.name: space for space in context.representations_of(protocol)[1:]},
        batch_size=context.batch_size,
        device=context.device,
        seed=context.seed,
    )
    yield protocol, measure


def _lightning_linear(context: Context, protocol: str) -> Iterator[Step]:
    options = lightning_linear.LinearOptions()
    if protocol in context.epochs:
        options = replace(options, epochs=context.epochs[protocol])
    # The engine picks its own device.
    yield from _trained(context, protocol, lightning_linear.lightning_linear_measurements, options)


def _finetune(context: Context, protocol: str) -> Iterator[Step]:
    options = finetune.PROTOCOLS[protocol]
    if "finetune" in context.epochs:
        options = replace(options, epochs=context.epochs["finetune"])
    measure = partial(finetune.finetune_measurements, device=context.device)
    yield from _trained(context, protocol, measure, options)


def _trained(
    context: Context, protocol: str, measure: Callable[..., list[Measurement]], options: object
) -> Iterator[Step]:
    """One step for each task, as each is trained by itself."""
    for task in context.table.tasks:
        step = partial(
            measure,
            context.network.backbone,
            replace(context.table, tasks=(task,)),
            context.statistics,
            options,
            unmirrored=context.unmirrored,
            workers=context.workers,
            seed=context.seed,
        )
        yield f"{protocol} {task.name}", step


def _per_task_protocol(
    measure: Callable[..., list[Measurement]], number: int, *, masked: bool
) -> Protocol:
    """One that a function measures task by task; its constants are the function's defaults."""
    parameters = inspect.signature(measure).parameters.values()
    settings = {each.name: each.default for each in parameters if each.default is not each.empty}
    steps = partial(_per_task, measure, masked)
    return Protocol(steps, number, settings={**settings, "resamples": accuracy.RESAMPLES})


PROTOCOLS: Mapping[str, Protocol] = {
    "knn": _per_task_protocol(neighbour.knn_measurements, neighbour.VERSION, masked=False),
    "linear": _per_task_protocol(linear.linear_measurements, linear.VERSION, masked=True),
    "few-shot": _per_task_protocol(fewshot.few_shot_measurements, fewshot.VERSION, masked=True),
    "label-free": Protocol(_label_free, labelfree.VERSION, labelfree.MEASURES),
    "invariance": Protocol(_invariance, profile.VERSION, profile.MEASURES),
    lightning_linear.PROTOCOL: Protocol(
        _lightning_linear,
        lightning_linear.VERSION,
        settings=asdict(lightning_linear.LinearOptions()),
    ),
    **{
        name: Protocol(_finetune, finetune.VERSION, settings=asdict(options))
        for name, options in finetune.PROTOCOLS.items()
    },
}
"""Every protocol by name."""
