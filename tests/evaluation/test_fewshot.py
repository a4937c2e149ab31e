import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.labels.split import few_per_class
from mast_plugin.evaluation.protocols.fewshot import few_shot_measurements


def images(count, classes=6, features=10, skill=0.8, seed=0):
    rng = np.random.default_rng(seed)
    centres = skill * np.random.default_rng(99).normal(size=(classes, features))
    labels = np.arange(count) % classes
    points = (centres[labels] + rng.normal(size=(count, features))) * np.logspace(0, 2, features)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


TRAIN, LABELS = images(120)
TEST, TEST_LABELS = images(240, seed=1)
SPLIT = (TRAIN, LABELS, TEST, TEST_LABELS)


def expected(shots, draws, l2_weight, seed):
    scaler = StandardScaler().fit(TRAIN)
    top1, per_class = [], []
    for draw in range(seed, seed + draws):
        few = few_per_class(LABELS, shots, draw)
        model = LogisticRegression(C=1 / (l2_weight * len(few)), tol=1e-8, max_iter=5000)
        model.fit(scaler.transform(TRAIN)[few], LABELS[few])
        guess = model.predict(scaler.transform(TEST))
        top1.append(100 * (guess == TEST_LABELS.numpy()).mean())
        per_class.append(100 * balanced_accuracy_score(TEST_LABELS, guess))
    return np.array(top1), np.array(per_class)


@pytest.mark.parametrize("shots", [3, 8])
def test_it_is_the_mean_over_classifiers_of_few_images(shots):
    rows = few_shot_measurements(
        "backbone", "digit", *SPLIT, shots=[shots], draws=5, l2_weight=0.05, seed=7
    )
    top1, per_class = expected(shots, 5, 0.05, 7)
    assert [row.metric for row in rows] == ["top1", "top5", "mean_per_class"]
    found = {row.metric: row for row in rows}
    assert found["top1"].value == pytest.approx(top1.mean(), abs=0.2)
    assert found["mean_per_class"].value == pytest.approx(per_class.mean(), abs=0.2)
    interval = ttest_1samp(top1, 0).confidence_interval(0.95)
    assert found["top1"].low == pytest.approx(interval.low, abs=0.5)
    assert found["top1"].high == pytest.approx(interval.high, abs=0.5)
    assert found["top1"].high - found["top1"].low > 1
    assert found["top5"].value > found["top1"].value


def test_rows_are_named_by_their_shots():
    rows = few_shot_measurements("backbone", "digit", *SPLIT, draws=2)
    assert list(dict.fromkeys(row.protocol for row in rows)) == ["few-shot-5", "few-shot-10"]
    assert {(row.space, row.subject) for row in rows} == {("backbone", "digit")}
    assert rows[3].value > rows[0].value
    assert {(row.low, row.high) for row in rows} == {(None, None)}  # two draws say too little


def test_a_seed_is_a_set_of_draws():
    first, again, other = (
        few_shot_measurements("", "", *SPLIT, shots=[3], draws=3, seed=seed) for seed in (1, 1, 9)
    )
    assert first == again != other


def test_an_interval_ends_at_100():
    (train, labels), (test, test_labels) = images(60, skill=5), images(600, skill=5, seed=1)
    rows = few_shot_measurements("", "", train, labels, test, test_labels, shots=[2], draws=3)
    assert 95 < rows[0].value <= rows[0].high <= 100


def test_a_feature_that_the_few_lack_is_not_blown_up():
    rare = torch.zeros(120, 1)
    rare[0] = 1.0  # in one of twenty images of class 0
    test = torch.cat([TEST, (torch.arange(240) % 7 == 0).float()[:, None]], 1)
    rows = few_shot_measurements(
        "", "", torch.cat([TRAIN, rare], 1), LABELS, test, TEST_LABELS, shots=[3], draws=5
    )
    plain = few_shot_measurements("", "", *SPLIT, shots=[3], draws=5)
    assert rows[0].value == pytest.approx(plain[0].value, abs=6)


def test_a_class_with_fewer_images_is_named():
    with pytest.raises(DataError, match="Class 0 has 20 training images, and it takes 21"):
        few_shot_measurements("", "", *SPLIT, shots=[21])


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="no spread"):
        few_shot_measurements("", "", *SPLIT, draws=1)
    with pytest.raises(ConfigurationError, match="at least 1"):
        few_shot_measurements("", "", *SPLIT, shots=[0])
    with pytest.raises(ConfigurationError, match="above 0"):
        few_shot_measurements("", "", *SPLIT, l2_weight=0.0)
