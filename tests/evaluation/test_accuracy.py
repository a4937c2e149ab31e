import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, top_k_accuracy_score

from mast_plugin.errors import DataError
from mast_plugin.evaluation.protocols.accuracy import accuracy, rates


def guesses(images=300, classes=8, skill=1.5, seed=0):
    """Scores that favour the label, of classes that differ in size and in difficulty."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    labels = rng.choice(classes, size=images, p=share)
    scores = rng.normal(size=(images, classes))
    scores[np.arange(images), labels] += skill * labels / classes
    return torch.tensor(scores), torch.tensor(labels)


def test_values_agree_with_scikit_learn():
    scores, labels = guesses()
    found = accuracy(scores, labels)
    predictions = scores.argmax(1)
    assert found.top1.value == pytest.approx(100 * accuracy_score(labels, predictions))
    assert found.top5.value == pytest.approx(100 * top_k_accuracy_score(labels, scores, k=5))
    expected = 100 * balanced_accuracy_score(labels, predictions)
    assert found.mean_per_class.value == pytest.approx(expected)
    assert abs(found.mean_per_class.value - found.top1.value) > 2


def test_the_rates_are_the_values():
    scores, labels = guesses()
    found = accuracy(scores, labels)
    assert rates(scores, labels) == {
        "top1": found.top1.value,
        "top5": found.top5.value,
        "mean_per_class": found.mean_per_class.value,
    }


@pytest.mark.slow
def test_intervals_agree_with_a_bootstrap_of_images():
    scores, labels = guesses(images=120)
    rng = np.random.default_rng(1)
    predictions, truth = scores.argmax(1).numpy(), labels.numpy()
    five = scores.topk(5).indices.numpy()
    samples = {"top1": [], "top5": [], "mean_per_class": []}
    for _ in range(4000):
        index = rng.integers(len(truth), size=len(truth))
        right = predictions[index] == truth[index]
        samples["top1"].append(right.mean())
        samples["top5"].append((five[index] == truth[index, None]).any(1).mean())
        per_class = [right[truth[index] == c].mean() for c in np.unique(truth[index])]
        samples["mean_per_class"].append(np.mean(per_class))
    found = accuracy(scores, labels, resamples=4000)
    for name, sample in samples.items():
        low, high = 100 * np.percentile(sample, [2.5, 97.5])
        interval = getattr(found, name)
        assert interval.low == pytest.approx(low, abs=1.0)
        assert interval.high == pytest.approx(high, abs=1.0)
        assert high - low > 8


def test_an_interval_is_as_wide_as_a_binomials():
    scores, labels = guesses(images=20_000, skill=3)
    found = accuracy(scores, labels).top1
    deviation = 100 * (found.value / 100 * (1 - found.value / 100) / 20_000) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)
    assert found.low < found.value < found.high


def test_a_seed_is_a_set_of_resamples():
    scores, labels = guesses()
    assert accuracy(scores, labels, seed=1) == accuracy(scores, labels, seed=1)
    assert accuracy(scores, labels, seed=1) != accuracy(scores, labels, seed=2)


def test_the_top5_of_five_classes_is_left_out():
    scores, labels = guesses(classes=5)
    assert accuracy(scores, labels).top5 is None
    assert set(rates(scores, labels)) == {"top1", "mean_per_class"}
    assert accuracy(*guesses(classes=6)).top5 is not None


def test_ties_go_to_the_lower_class():
    assert rates(torch.zeros(4, 7), torch.tensor([0, 4, 5, 6])) == {
        "top1": 25.0,
        "top5": 50.0,
        "mean_per_class": 25.0,
    }


def test_all_right_has_an_interval_without_width():
    found = accuracy(torch.eye(7)[:6], torch.arange(6))
    for part in (found.top1, found.top5, found.mean_per_class):
        assert (part.value, part.low, part.high) == (100.0, 100.0, 100.0)


def test_many_classes_stay_small():
    scores = torch.zeros(2000, 1000)
    labels = torch.arange(2000) % 1000
    scores[torch.arange(0, 2000, 2), labels[::2]] = 1.0
    found = accuracy(scores, labels)
    assert 45 < found.top1.low < found.top1.value < found.top1.high < 55


def test_rows_carry_the_interval_and_what_was_chosen():
    found = accuracy(*guesses())
    rows = found.measurements("backbone", "linear", "digit", {"l2_weight": 0.1})
    assert [row.metric for row in rows] == ["top1", "top5", "mean_per_class"]
    for row, part in zip(rows, (found.top1, found.top5, found.mean_per_class), strict=True):
        assert (row.space, row.protocol, row.subject) == ("backbone", "linear", "digit")
        assert (row.value, row.low, row.high) == (part.value, part.low, part.high)
        assert row.chosen == {"l2_weight": 0.1}


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 1]), "do not fit 2 labels"),
        (torch.zeros(0, 2), torch.tensor([], dtype=torch.int64), "do not fit 0 labels"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), "outside of the 2 classes"),
        (torch.zeros(2, 2), torch.tensor([-1, 0]), "outside of the 2 classes"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, labels, message):
    with pytest.raises(DataError, match=message):
        accuracy(scores, labels)
