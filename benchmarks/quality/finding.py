"""What a MAST network learned about its augmentations: numbers and pictures of docs/findings.md.

    python benchmarks/quality/finding.py CHECKPOINT IMAGES NAME

CHECKPOINT is a run with masks and uncertainty, IMAGES a folder of images that it never saw.
Writes results/finding-NAME.json and docs/images/NAME-*.png.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from study import HERE, RESULTS, in_lines, portable

from mast_plugin.analysis.relation import Relation, relate
from mast_plugin.analysis.strength import PairNetwork, UncertaintyAnalysis, analyse_uncertainty
from mast_plugin.evaluation.features.extraction import evaluating
from mast_plugin.evaluation.network.opening import open_network
from mast_plugin.files.storage import write_whole
from mast_plugin.loading.image import load_image
from mast_plugin.report.figure import save
from mast_plugin.report.mask import draw_tree
from mast_plugin.report.uncertainty_figure import draw_pairs, draw_strengths

PICTURES = HERE.parents[1] / "docs" / "images"
NUM_IMAGES = 1000
DESCRIBING = ("seed", "max_epochs", "optimizer", "method_kwargs", "augmentations")
"""Of a run's configuration; the rest is paths and the machine's."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("name")
    options = parser.parse_args()
    files = sorted(options.images.rglob("*.jpg"))
    chosen = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))[:NUM_IMAGES]
    network = open_network(options.checkpoint)
    relation = relate(network.masks, network.types)
    uncertainty = analysed(network, [files[index] for index in chosen.tolist()])
    content = {
        "configuration": {key: network.cfg[key] for key in DESCRIBING},
        "images": len(chosen),
        "masks": describe(relation),
        "uncertainty": [asdict(kind) for kind in uncertainty.types],
    }
    write_whole(RESULTS / f"finding-{options.name}.json", in_lines(portable(content, {})))
    print(json.dumps({key: content[key] for key in ("masks", "uncertainty")}, indent=1))
    draw(relation, uncertainty, options.name)


def analysed(network: Any, files: list[Path]) -> UncertaintyAnalysis:
    """Uncertainty of every type at five strengths, and the pairs at both ends."""
    parts = PairNetwork(
        backbone=lambda views: network.backbone(views).flatten(1),
        embed=network.projector,
        log_variance=network.log_variance,
        masks=network.masks,
    )
    with evaluating(network.model):
        return analyse_uncertainty(parts, [load_image(str(f)) for f in files], network.plan)


def describe(relation: Relation) -> dict[str, Any]:
    """How alike the masks are, and how many dimensions each shares."""
    return {
        "types": relation.types,
        "correlation": relation.correlation.round(3).tolist(),
        "overlap": relation.overlap.round(3).tolist(),
        "dimensions": {name: counts.tolist() for name, counts in relation.parts.items()},
    }


def draw(relation: Relation, uncertainty: UncertaintyAnalysis, name: str) -> None:
    """The pictures, as PNG."""
    figures = {
        "tree": draw_tree(relation),
        "strengths": draw_strengths(uncertainty),
        "pairs": draw_pairs(uncertainty),
    }
    for kind, figure in figures.items():
        saved = save(figure, PICTURES, f"{name}-{kind}")
        saved.svg.unlink()  # a page of documentation takes one of the two


if __name__ == "__main__":
    main()
