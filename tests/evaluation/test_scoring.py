"""The scores before and after a training: which is which."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mast_plugin.evaluation.before_after import score_tasks
from mast_plugin.evaluation.features.view import ViewStatistics
from mast_plugin.evaluation.labels.tasks import read_tasks
from mast_plugin.evaluation.scoring import Scoring
from mast_plugin.loading.image import AS_SHOWN

VIEW = ViewStatistics(8).centred()


@pytest.fixture
def scoring(labelled, host):
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 6))
    return Scoring(
        backbone, read_tasks(labelled / "labels.csv", ["hue"]), VIEW, AS_SHOWN, 0, trainer
    )


def test_the_untrained_scores_are_those_from_before(scoring, tmp_path):
    layer = scoring.backbone[1]
    nn.init.zeros_(layer.weight)  # nothing can be told from such features
    before = scoring.scores()
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    comparison = scoring.compare(before, tmp_path)
    assert comparison.untrained == before
    assert comparison.trained == score_tasks(scoring.backbone, scoring.table, VIEW) != before
    assert comparison.trained[0].linear > before[0].linear + 10
    assert json.loads((tmp_path / "evaluation.json").read_text()) == json.loads(
        json.dumps(comparison.as_dict())
    )
