"""The sections of a report: data in, pictures with the sentences that explain them out.

Each function answers with a section whatever it is given: without data it says why in one line.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from mast_plugin.analysis.relation import Relation
from mast_plugin.analysis.strength import UncertaintyAnalysis
from mast_plugin.comparison.estimate import Comparison
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import comparison, curve, feature_map, invariance, mask, uncertainty_figure
from mast_plugin.report.content import Picture, Section

_PROFILES = {
    "invariance": (
        "invariance",
        (0.0, 1.0),
        "1: the augmentation changes nothing; 0: two views of one image are as far apart as two "
        "images.",
    ),
    "similarity": (
        "similarity",
        (0.0, 1.0),
        "Similarity of two views of one image: the cosine of their features, the mean taken off.",
    ),
    "told_r2": (
        "R²",
        (0.0, 1.0),
        "How much of the augmentation's parameters can be read off a view: 1 is all, 0 nothing.",
    ),
    "told_accuracy": (
        "%",
        (50.0, 100.0),
        "How often it can be read off a view whether it was augmented: 50 % is chance.",
    ),
}
"""What a metric is called on the colour bar, the ends of its colours, and what it means."""


def curves(data: curve.Curves) -> Section:
    """How the training went."""
    pictures = []
    if data.terms:
        alt = f"The course of {', '.join(data.terms)} over training."
        pictures.append(Picture("curves", curve.draw_terms(data), alt))
    if data.subspaces:
        alt = f"The course of {', '.join(data.subspaces)} of every subspace over training."
        caption = (
            "One line per augmentation type. Lines that drift apart say that the types ask for "
            "different dimensions; an effective dimension near one would be a subspace that died."
        )
        pictures.append(Picture("subspace-curves", curve.draw_subspaces(data), alt, caption))
    return Section(
        "curves",
        "Training",
        "Every part of the loss, before its weight, and accuracies of the online classifier where "
        "there are labels. Lower is better for losses; a good run falls quickly, then flattens, "
        "and no part jumps or climbs for long.",
        tuple(pictures),
        "" if pictures else "No curves: the run folder holds no metrics.csv with epochs.",
    )


def invariances(measurements: Sequence[Measurement]) -> Section:
    """What each representation is invariant to."""
    rows = [row for row in measurements if row.protocol == "invariance"]
    pictures = []
    for metric, (short, limits, meaning) in _PROFILES.items():
        found = {(row.subject, row.space): row.value for row in rows if row.metric == metric}
        if not found:
            continue
        types = list(dict.fromkeys(kind for kind, _ in found))
        spaces = list(dict.fromkeys(space for _, space in found))
        values = np.array([[found.get((t, s), np.nan) for s in spaces] for t in types])
        name = f"profile-{metric.replace('_', '-')}"
        drawn = invariance.draw_profile(types, spaces, values, meaning=short, limits=limits)
        alt = f"A table in colours: {len(types)} augmentation types by {len(spaces)} columns."
        pictures.append(Picture(name, drawn, alt, meaning))
        whole = [i for i, space in enumerate(spaces) if not space.startswith("subspace")]
        if metric == "invariance" and len(types) >= invariance.RADAR_MINIMUM and whole:
            profiles = {spaces[i]: values[:, i].tolist() for i in whole}
            radar = invariance.draw_radar(types, profiles, meaning="invariance")
            alt = f"The invariance of {', '.join(profiles)} around a circle of augmentation types."
            pictures.append(Picture("radar", radar, alt, "Farther out is more invariant."))
    return Section(
        "invariance",
        "Invariance profile",
        "How much each representation changes when one kind of augmentation is applied to an "
        "image: a row per kind, a column per representation. A good subspace is invariant to its "
        "own kind, and the backbone keeps enough of every kind that tasks which need it can still "
        "be solved.",
        tuple(pictures),
        "" if pictures else "No invariance profile: the evaluation did not measure invariance.",
    )


def masks(values: Tensor, relation: Relation) -> Section:
    """The masks themselves."""
    share = f"{100 * relation.relative_weight:.0f} %"
    pictures = (
        Picture(
            "masks",
            mask.draw_masks(values, relation),
            f"The masks of {len(values)} types over {values.shape[1]} dimensions in colours.",
        ),
        Picture(
            "parts",
            mask.draw_parts(relation),
            "A bar per type of the dimensions that it has alone, shares, or leaves out.",
            f"A dimension belongs to a type's subspace if it has at least {share} of the mean "
            "weight there. What one type alone leaves out is free to carry what that type changes.",
        ),
    )
    return Section(
        "masks",
        "Masks",
        "Which dimensions of the embedding are compared when an augmentation type is active: "
        "bright is compared, dark is left alone. Good masks differ between the types, as blocks "
        "that only some rows have; rows that are all alike have learned nothing.",
        pictures,
    )


def overlap(relation: Relation) -> Section:
    """How much the subspaces share."""
    alt = f"The overlap of {len(relation.types)} subspaces with each other, in colours."
    return Section(
        "overlap",
        "Overlap",
        "The share of its weight that one type puts on the same dimensions as another: 1 is the "
        "same subspace, 0 is nothing in common. A good result has high values between kinds of "
        "augmentation that resemble each other, and lower ones elsewhere.",
        (Picture("overlap", mask.draw_overlap(relation), alt),),
    )


def tree(relation: Relation) -> Section:
    """Which types group together."""
    single = len(relation.types) < 2
    return Section(
        "tree",
        "Family tree of augmentations",
        "Types whose masks go up and down together are joined early, near their names; the scale "
        "says how different they are. In a good result related kinds, such as changes of colour or "
        "changes of place, end up on one branch.",
        () if single else (Picture("tree", mask.draw_tree(relation), "A tree of the types."),),
        "No tree: there is one augmentation type only." if single else "",
    )


def uncertainties(analysis: UncertaintyAnalysis) -> Section:
    """Whether uncertainty follows strength."""
    number = f"{analysis.num_images:,} images"
    pictures = (
        Picture(
            "strengths",
            uncertainty_figure.draw_strengths(analysis),
            "Predicted log-variance and measured error against strength, one panel per type.",
            f"Means over {number}, with one type applied and all others off.",
        ),
        Picture(
            "correlations",
            uncertainty_figure.draw_correlations(analysis),
            "Rank correlations with intervals, one per type.",
            f"Bars are 95 % intervals over the {number}. Right of zero, the uncertainty grows as "
            "the two views' parameters move apart.",
        ),
    )
    return Section(
        "uncertainty",
        "Uncertainty",
        "How unsure the network says it is of a pair when one augmentation gets stronger, beside "
        "the error that it really makes. In a good result both lines rise together and lie close "
        "to each other.",
        pictures,
    )


def pairs(analysis: UncertaintyAnalysis) -> Section:
    """The pairs at both ends of certainty."""
    if not analysis.most_certain.indices:
        return missing("pairs", "The analysis kept no pairs.")
    return Section(
        "pairs",
        _TITLES["pairs"],
        "Two views of one image stand above each other, with the image's number and the predicted "
        "log-variance. Where the network is least certain, the views should be hard to recognise "
        "as one image; where it is most certain, they should look alike.",
        (
            Picture(
                "pairs",
                uncertainty_figure.draw_pairs(analysis),
                "Pairs of views on which the network is most and least certain.",
                raster=True,
            ),
        ),
    )


def features(data: feature_map.FeatureMap) -> Section:
    """The map of the features."""
    alt = f"{len(data.points)} images on a plane, coloured by {', '.join(data.labels)}."
    return Section(
        "map",
        _TITLES["map"],
        f"{len(data.points):,} test images by their backbone features, flattened to two "
        "dimensions, once for each task and coloured by its labels. A good result shows order in "
        "several panels: one colour per region for some tasks, a gradient for others. A flat map "
        "cannot show everything, so the numbers above are what counts.",
        (Picture("map", feature_map.draw_map(data), alt, raster=True),),
    )


def methods(data: Comparison) -> Section:
    """Methods side by side, for a report of several runs."""
    alt = f"Dots with intervals of {', '.join(data.methods)} on each of {len(data.rows)} tasks."
    return Section(
        "methods",
        "Task by task",
        "Each dot is a method's mean and each bar its interval; farther right is better. Bars that "
        "overlap widely say that the difference may be chance. A good method is to the right on "
        "every task.",
        (Picture("methods", comparison.draw_comparison(data), alt, f"Bars: {data.interval}."),),
    )


_TITLES = {
    "masks": "Masks",
    "overlap": "Overlap",
    "tree": "Family tree of augmentations",
    "uncertainty": "Uncertainty",
    "pairs": "Most and least certain pairs",
    "map": "Map of the features",
}


def missing(section_id: str, why: str) -> Section:
    """A section that only says why it is empty."""
    return Section(section_id, _TITLES[section_id], "", (), why)
