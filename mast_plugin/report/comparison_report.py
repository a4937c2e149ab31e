"""The report of a comparison: the methods side by side, and what ours has learned."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import section
from mast_plugin.report.content import Cost, Picture, ReportContent, Section
from mast_plugin.report.invariance import RADAR_MINIMUM, draw_radar
from mast_plugin.report.page import write_report
from mast_plugin.report.run_report import report_run

if TYPE_CHECKING:
    from mast_plugin.comparison.compared import Compared


def report_comparison(compared: "Compared") -> Path:
    """Write ``report.html`` for a comparison, with what the report of one run of ours says.

    Args:
        compared: the table, the costs and the runs' evaluations; of the one that kept its
            ``context``, a report of its own is written and its sections are shown here as well.

    Returns:
        The comparison's page.
    """
    trials, results = compared.trials, compared.results
    first = {method: results[method, seed].rows for method, seed in reversed(list(results))}
    methods = compared.comparison.methods
    header = next(iter(results.values())).header
    content = ReportContent(
        title=f"Comparison of {', '.join(methods)}",
        header={
            name: header[name]
            for name in ("dataset", "num_train", "num_test", "protocols", "versions", "hardware")
        }
        | {"runs": [f"{trial.label}: {trial.folder}" for trial in trials.values()]},
        sections=(
            section.methods(compared.comparison),
            _profiles(first, methods),
            *_of_one_run(compared),
        ),
        comparison=compared.comparison,
        costs=tuple(
            Cost(name, int(cost["views"]), cost["minutes"], cost["images_per_second"])
            for name, cost in compared.costs.items()
            if cost
        ),
    )
    return write_report(compared.folder, content)


def _of_one_run(compared: "Compared") -> tuple[Section, ...]:
    """The sections of the run that kept its context, with its name in their titles."""
    return tuple(
        replace(part, title=f"{part.title} ({compared.trials[key].label})")
        for key, result in compared.results.items()
        if result.context is not None
        for part in report_run(compared.trials[key].folder, result)
    )


def _profiles(rows: Mapping[str, Sequence[Measurement]], methods: tuple[str, ...]) -> Section:
    """What each method's backbone ignores, over the types that all were measured on."""
    profiles = {
        method: {
            row.subject: row.value
            for row in rows[method]
            if (row.space, row.metric) == ("backbone", "invariance")
        }
        for method in methods
    }
    shared = [kind for kind in profiles[methods[0]] if all(kind in p for p in profiles.values())]
    text = (
        "How far each method's backbone ignores an augmentation: 1 is not at all disturbed by it, "
        "0 is as different as another image. What a network ignores it cannot tell, so a good "
        "backbone for many tasks is not at 1 everywhere."
    )
    if len(shared) < RADAR_MINIMUM:
        why = f"No profile: fewer than {RADAR_MINIMUM} types were measured on every method."
        return Section("profiles", "Invariance of every method", "", (), why)
    figure = draw_radar(
        shared,
        {method: [profiles[method][kind] for kind in shared] for method in methods},
        meaning="invariance of the backbone",
    )
    alt = f"Invariance of {', '.join(methods)} to {', '.join(shared)}."
    return Section(
        "profiles", "Invariance of every method", text, (Picture("profiles", figure, alt),)
    )
