"""Options that change nothing, or less than they say, are said before the training."""

import pytest
from omegaconf import OmegaConf

from mast_plugin.running.notice import notices


def configuration(*overrides: str):
    complete = {
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": 10},
        "knn_eval": {"enabled": False},
        "max_epochs": 10,
    }
    return OmegaConf.merge(complete, OmegaConf.from_dotlist(list(overrides)))


@pytest.mark.parametrize(
    ("override", "validates", "line"),
    [
        ("max_epochs=5", True, "scheduler.warmup_epochs=10 is more than max_epochs=5"),
        ("knn_eval.enabled=true", False, "knn_eval changes nothing without"),
    ],
)
def test_what_does_less_than_it_says(override, validates, line):
    assert line in notices(configuration(override), validates=validates)


@pytest.mark.parametrize("override", ["max_epochs=10", "knn_eval.enabled=true"])
def test_nothing_is_said_of_what_works(override):
    assert notices(configuration(override), validates=True) == ""
