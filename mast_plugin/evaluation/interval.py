"""The interval of a mean over few repetitions: seeds of a training, draws of labelled images."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

LEAST = 3
"""With two values Student's quantile is 12.7: such an interval says nothing, so there is none."""

ACCURACY = (0.0, 100.0)
DIFFERENCE = (-100.0, 100.0)
"""Where the mean of accuracies, in %, and of their differences can lie at all."""


def mean_interval(
    values: Sequence[float], limits: tuple[float, float] = ACCURACY
) -> tuple[float, float] | None:
    """Student's 95 % interval of a mean, cut to where a mean can lie.

    Cutting costs no coverage: an interval without its impossible values holds the true mean exactly
    when the whole one does. As the mean of the values lies within the limits, too, what is left is
    never empty. Source: Mandelkern, "Setting confidence intervals for bounded parameters",
    Statistical Science 17 (2002), where this is the intersection with the allowed values; an
    interval of the logits would be unbounded where a value is 0 or 100.

    Args:
        values: each within the limits.
        limits: smallest and largest possible value.

    Returns:
        Its ends; ``None`` for fewer than three values.
    """
    if len(values) < LEAST:
        return None
    from scipy.stats import t as student

    mean = fmean(values)
    margin = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return max(limits[0], mean - margin), min(limits[1], mean + margin)
