"""From an evaluated checkpoint to its report: what is computed from the network for it alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mast_plugin.analysis.strength import PairNetwork, UncertaintyAnalysis, analyse_uncertainty
from mast_plugin.evaluation.features.extraction import evaluating
from mast_plugin.evaluation.protocols.registry import Context
from mast_plugin.loading.image import load_image
from mast_plugin.report.content import Section
from mast_plugin.report.feature_map import map_features
from mast_plugin.report.page import write_report
from mast_plugin.report.single import Findings, single_run

if TYPE_CHECKING:
    from mast_plugin.evaluation.evaluated import Evaluated

NUM_IMAGES = 128
"""Test images on which uncertainty is analysed."""


def report_run(run_folder: Path, evaluated: "Evaluated") -> tuple[Section, ...]:
    """Write ``report.html`` and its pictures beside the evaluation.

    Args:
        run_folder: of the run, for its ``metrics.csv``.
        evaluated: the numbers, with the context that they are of.

    Returns:
        The page's sections, which a comparison shows as well.
    """
    assert evaluated.context is not None
    content = single_run(run_folder, evaluated.header, evaluated.rows, findings(evaluated.context))
    write_report(evaluated.folder, content)
    return content.sections


def findings(context: Context) -> Findings:
    """Masks, uncertainty and the map of the features of a network."""
    network, tasks = context.network, context.table.tasks
    has_masks = network.masks is not None and not bool((network.masks == 1).all())
    return Findings(
        types=network.types or (),
        masks=network.masks if has_masks else None,
        uncertainty=_uncertainty(context),
        feature_map=map_features(
            context.test,
            # A map has a colour for every image.
            {task.name: (task.classes, task.val) for task in tasks if task.val_images is None},
        ),
    )


def _uncertainty(context: Context) -> UncertaintyAnalysis | None:
    network = context.network
    if network.log_variance is None or network.plan is None:
        return None
    assert network.masks is not None and network.projector is not None
    chosen = torch.randperm(
        len(context.table.val_files), generator=torch.Generator().manual_seed(context.seed)
    )[:NUM_IMAGES]
    files = [str(context.table.val_files[i]) for i in chosen.tolist()]
    images = [load_image(file, context.statistics.reading) for file in files]
    device = context.device
    model = network.model.to(device)
    with evaluating(model):
        return analyse_uncertainty(
            PairNetwork(
                backbone=lambda views: network.backbone(views.to(device)).flatten(1),
                embed=network.projector,
                log_variance=network.log_variance,
                masks=network.masks,
            ),
            images,
            network.plan,
            seed=context.seed,
        )
