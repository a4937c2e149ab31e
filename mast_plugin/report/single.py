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
        why = "every mask is one (method_kwargs.masks=none), or the checkpoint holds none"
        what = {"masks": "masks", "overlap": "overlap of masks", "tree": "tree of masks"}
        return _missing(what, method, why)
    relation = relate(findings.masks, findings.types)
    return (
        section.masks(findings.masks, relation),
        section.overlap(relation),
        section.tree(relation),
    )


def _uncertainty_sections(findings: Findings, method: str) -> tuple[Section, ...]:
    if findings.uncertainty is None:
        why = "it was switched off (method_kwargs.uncertainty), or not analysed"
        return _missing(
            {"uncertainty": "uncertainty", "pairs": "pairs by uncertainty"}, method, why
        )
    return section.uncertainties(findings.uncertainty), section.pairs(findings.uncertainty)


def _missing(what: Mapping[str, str], method: str, why: str) -> tuple[Section, ...]:
    """Sections, by id, that are empty as the method is another one, or else for the reason why."""
    reason = why if method == "mast" else f"the method is {method}"
    return tuple(section.missing(name, f"No {text}: {reason}.") for name, text in what.items())
