"""How many pairs of crops have next to nothing in common, at every strength of the study.

python benchmarks/quality/overlap.py
"""

import random
from pathlib import Path

from omegaconf import OmegaConf

from mast_plugin.analysis.pair import parameter_distance
from mast_plugin.views.drawing import draw_view
from mast_plugin.views.plan import parse_pair

HERE = Path(__file__).parent
PAIRS, SIZE_PX = 5000, (32, 32)
LITTLE = 0.05  # intersection over union


def main() -> None:
    """Print one line for each strength."""
    (usual,) = OmegaConf.load(HERE / "recipes" / "augmentations" / "usual.yaml")
    strengths = OmegaConf.load(HERE / "study.yaml").strengths
    smallest = {"usual": usual.crop.min_scale, **{name: row[0] for name, row in strengths.items()}}
    for name, share in smallest.items():
        found = overlaps(share)
        none, little = (sum(value <= limit for value in found) for limit in (0, LITTLE))
        print(
            f"{name}, crops from {share:.0%} of the area: of {PAIRS} pairs {none / PAIRS:.1%} "
            f"share nothing, {little / PAIRS:.1%} at most {LITTLE} (intersection over union)"
        )


def overlaps(smallest: float) -> list[float]:
    """Intersections over unions, in [0, 1], of seeded pairs of crops."""
    plan = parse_pair([{"crop_size": 32, "num_crops": 2, "crop": {"min_scale": smallest}}])
    (crop,) = plan.augmentations
    rng = random.Random(0)
    views = [draw_view(plan, SIZE_PX, rng)["crop"] for _ in range(2 * PAIRS)]
    pairs = zip(views[::2], views[1::2], strict=True)
    return [1 - parameter_distance(crop, *pair) for pair in pairs]


if __name__ == "__main__":
    main()
