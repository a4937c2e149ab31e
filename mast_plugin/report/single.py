"""The report of one run, put together from what its folder and its evaluation hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mast_plugin.analysis.relation import relate
from mast_plugin.analysis.strength import UncertaintyAnalysis
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import section
from mast_plugin.report.content import ReportContent, Section
from mast_plugin.report.curve import read_curves
from mast_plugin.report.feature_map import FeatureMap


@dataclass(frozen=True)
class Findings:
    """What was computed from a network for its report; each may be missing.

    Attributes:
        types: the K augmentation types, in the order of the masks' rows.
        masks: (K, D), in (0, 1].
        uncertainty: see :func:`mast_plugin.analysis.strength.analyse_uncertainty`.
        feature_map: see :func:`mast_plugin.report.feature_map.map_features`.
    """

    types: Sequence[str] = ()
    masks: Tensor | None = None
    uncertainty: UncertaintyAnalysis | None = None
    feature_map: FeatureMap | None = None


def single_run(
    folder: Path,
    header: Mapping[str, Any],
    measurements: Sequence[Measurement],
    findings: Findings,
    *,
    title: str | None = None,
) -> ReportContent:
    """Assemble a report; what is missing is said in its place.

    Args:
        folder: of the run, for its ``metrics.csv``.
        header: of the evaluation; ``method`` explains what cannot be there.
        measurements: of the evaluation.
        findings: of the network.
        title: of the page; by default the method and the folder's name.
    """
    method = str(header.get("method") or "unknown")
    sections = (
        section.curves(read_curves(folder)),
        section.invariances(measurements),
        *_mask_sections(findings, method),
        *_uncertainty_sections(findings, method),
        section.missing("map", "No map: no labelled images were evaluated.")
        if findings.feature_map is None or not findings.feature_map.labels
        else section.features(findings.feature_map),
    )
    return ReportContent(title or f"{method}: {folder.name}", header, measurements, sections)


def _mask_sections(findings: Findings, method: str) -> tuple[Section, ...]:
    if findings.masks is None:
        why = (
            f"the method is {method}"
            if method != "mast"
            else "every mask is one (method_kwargs.masks=none), or the checkpoint holds none"
        )
        return (
            section.missing("masks", f"No masks: {why}."),
            section.missing("overlap", f"No overlap of masks: {why}."),
            section.missing("tree", f"No tree of masks: {why}."),
        )
    relation = relate(findings.masks, findings.types)
    return (
        section.masks(findings.masks, relation),
        section.overlap(relation),
        section.tree(relation),
    )


def _uncertainty_sections(findings: Findings, method: str) -> tuple[Section, ...]:
    if findings.uncertainty is None:
        why = (
            f"the method is {method}"
            if method != "mast"
            else "it was switched off (method_kwargs.uncertainty), or not analysed"
        )
        return (
            section.missing("uncertainty", f"No uncertainty: {why}."),
            section.missing("pairs", f"No pairs by uncertainty: {why}."),
        )
    return section.uncertainties(findings.uncertainty), section.pairs(findings.uncertainty)
