from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.labels.split import validation_split
from mast_plugin.evaluation.protocols import neighbour
from mast_plugin.evaluation.protocols.accuracy import rates
from mast_plugin.evaluation.protocols.neighbour import choose_setting, knn_measurements, knn_scores
from mast_plugin.host.quiet import quiet_host


def clusters(count, classes=8, features=12, noise=1.3, seed=0):
    """Features around one centre per class, of lengths that differ from image to image."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, features))
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    points = centres[labels] + noise * rng.normal(size=(count, features))
    points *= rng.uniform(0.1, 10, size=(count, 1))
    return torch.tensor(points, dtype=torch.float32), torch.tensor(labels)


TRAIN, LABELS = clusters(400, seed=1)
TEST, TEST_LABELS = clusters(300, seed=2)


def reference(train, labels, k, temperature):
    return KNeighborsClassifier(
        k,
        metric="cosine",
        algorithm="brute",
        weights=lambda distance: np.exp((1 - distance) / temperature),
    ).fit(train.numpy(), labels.numpy())


def scored(k, temperature):
    train, test = F.normalize(TRAIN), F.normalize(TEST)
    return knn_scores(train, LABELS, test, 8, neighbours=k, temperature=temperature)


@pytest.mark.parametrize(("k", "temperature"), [(20, 0.07), (5, 0.5), (200, 0.02), (50, 0.2)])
def test_our_votes_agree_with_scikit_learn(k, temperature):
    shares = reference(TRAIN, LABELS, k, temperature).predict_proba(TEST.numpy())
    scores = scored(k, temperature)
    torch.testing.assert_close(
        scores / scores.sum(1, keepdim=True),
        torch.tensor(shares, dtype=torch.float32),
        rtol=1e-4,
        atol=1e-5,
    )
    found = rates(scores, TEST_LABELS)
    predictions = shares.argmax(1)
    assert found["top1"] == pytest.approx(100 * (predictions == TEST_LABELS.numpy()).mean())
    expected = 100 * balanced_accuracy_score(TEST_LABELS, predictions)
    assert found["mean_per_class"] == pytest.approx(expected)
    if k >= 50:  # with fewer neighbours some classes have no vote, and scikit-learn's ties differ
        expected = 100 * top_k_accuracy_score(TEST_LABELS, shares, k=5)
        assert found["top5"] == pytest.approx(expected)
    assert 50 < found["top1"] < 90


@pytest.mark.parametrize(("k", "temperature"), [(20, 0.07), (5, 0.5), (200, 0.02), (7, 0.1)])
def test_the_rows_are_what_the_host_finds(host, k, temperature):
    """On the normalised features of both splits, with the setting that the rows name."""
    (top1, top5, _) = knn_measurements(
        *("", "", TRAIN, LABELS, TEST, TEST_LABELS), neighbours=[k], temperatures=[temperature]
    )
    assert {"k": k, "temperature": temperature}.items() < top1.chosen.items()
    with quiet_host():
        from solo.utils.knn import WeightedKNNClassifier
    classifier = WeightedKNNClassifier(k=k, T=temperature, distance_fx="cosine")
    classifier.update(train_features=F.normalize(TRAIN), train_targets=LABELS)
    classifier.update(test_features=F.normalize(TEST), test_targets=TEST_LABELS)
    found = type(classifier).compute(classifier)
    assert (top1.value, top5.value) == pytest.approx(found, abs=1e-4)
    votes = rates(scored(k, temperature), TEST_LABELS)
    assert (votes["top1"], votes["top5"]) == pytest.approx(found, abs=1e-4)


def test_the_chosen_setting_is_the_best_of_all_on_the_validation_split():
    counts, temperatures = (1, 3, 10, 40, 120), (0.02, 0.1, 0.5)
    fit, val = validation_split(LABELS, seed=4)
    tops = {
        (k, heat): reference(TRAIN[fit], LABELS[fit], k, heat).score(TRAIN[val], LABELS[val])
        for k in counts
        for heat in temperatures
    }
    chosen, top1 = choose_setting(
        *(F.normalize(TRAIN), LABELS, 8), neighbours=counts, temperatures=temperatures, seed=4
    )
    best = max(tops.values())
    assert tops[chosen] == best > min(tops.values())
    assert top1 == pytest.approx(100 * best)
    assert chosen == max(setting for setting, top in tops.items() if top == best)


def test_chunks_do_not_change_anything():
    whole, setting = scored(20, 0.1), choose_setting(F.normalize(TRAIN), LABELS, 8)
    with patch.object(neighbour, "_CELLS", 7 * len(TRAIN)):
        torch.testing.assert_close(scored(20, 0.1), whole)
        assert choose_setting(F.normalize(TRAIN), LABELS, 8) == setting


def test_rows_are_the_test_images_scored_with_the_chosen_setting():
    rows = knn_measurements("backbone", "digit", TRAIN, LABELS, TEST, TEST_LABELS)
    assert [row.metric for row in rows] == ["top1", "top5", "mean_per_class"]
    k, temperature = rows[0].chosen["k"], rows[0].chosen["temperature"]
    setting, validated = choose_setting(F.normalize(TRAIN), LABELS, 8)
    assert (k, temperature) == setting
    assert rows[0].chosen["validation_top1"] == validated
    found = rates(scored(k, temperature), TEST_LABELS)
    for row in rows:
        assert (row.space, row.protocol, row.subject) == ("backbone", "knn", "digit")
        assert row.value == pytest.approx(found[row.metric], abs=1e-4)
        assert row.low < row.value < row.high


def test_the_test_images_choose_nothing():
    other = knn_measurements("", "", TRAIN, LABELS, TEST.flip(1), TEST_LABELS.flip(0))
    same = knn_measurements("", "", TRAIN, LABELS, TEST, TEST_LABELS)
    assert other[0].chosen == same[0].chosen
    assert other[0].value != same[0].value


def test_the_seed_decides_the_split_and_the_resamples():
    split = (TRAIN, LABELS, TEST, TEST_LABELS)
    rows = [knn_measurements("", "", *split, seed=seed) for seed in range(6)]
    settings = [choose_setting(F.normalize(TRAIN), LABELS, 8, seed=seed)[0] for seed in range(6)]
    chosen = [(top1.chosen["k"], top1.chosen["temperature"]) for top1, *_ in rows]
    assert chosen == settings and len(set(settings)) > 1
    fixed = {"neighbours": [20], "temperatures": [0.1]}
    one, other = (knn_measurements("", "", *split, seed=seed, **fixed) for seed in (0, 1))
    assert [row.value for row in one] == [row.value for row in other]
    assert [(row.low, row.high) for row in one] != [(row.low, row.high) for row in other]


@pytest.mark.parametrize("labels", [[3, 4], [4, 3]])
def test_equal_votes_go_to_the_lower_class(labels):
    """In the host they go by chance, as do the classes without a vote among its first five."""
    image = F.normalize(TEST[:1])
    scores = knn_scores(
        image.repeat(2, 1), torch.tensor(labels), image, 8, neighbours=2, temperature=0.1
    )
    found = [rates(scores, torch.tensor([label])) for label in range(8)]
    assert [each["top1"] for each in found] == [0, 0, 0, 100, 0, 0, 0, 0]
    assert [each["top5"] for each in found] == [100, 100, 100, 100, 100, 0, 0, 0]


def test_more_neighbours_than_images_are_left_out():
    train, labels = TRAIN[:50], LABELS[:50]
    rows = knn_measurements("", "", train, labels, TEST, TEST_LABELS, neighbours=[20, 45, 1000])
    assert rows[0].chosen["k"] == 20
    with pytest.raises(ConfigurationError, match="give counts from 1 to"):
        choose_setting(train, labels, 8, neighbours=[1000])


def test_the_top5_of_few_neighbours_is_left_out():
    rows = knn_measurements("", "", TRAIN, LABELS, TEST, TEST_LABELS, neighbours=[4])
    assert [row.metric for row in rows] == ["top1", "mean_per_class"]


@pytest.mark.parametrize(
    "options", [{"neighbours": [0, 5]}, {"temperatures": []}, {"temperatures": [0.01]}]
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigurationError, match="cannot be tried"):
        choose_setting(TRAIN, LABELS, 8, **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": TRAIN * float("nan")}, "not finite"),
        ({"train": TRAIN[:, :3]}, "have the shapes"),
        ({"train_labels": LABELS[1:]}, "have the shapes"),
        ({"train_labels": LABELS * 0}, "two or more classes"),
        ({"train_labels": LABELS - 1}, "two or more classes, from 0"),
        ({"train_labels": LABELS.clamp(max=6)}, "Class 7 occurs in the test images only"),
        ({"test_labels": TEST_LABELS.clamp(min=1)}, "Class 0 has no test image"),
        ({"test": TEST[:0], "test_labels": TEST_LABELS[:0]}, "cannot be measured"),
    ],
)
def test_features_and_labels_that_do_not_match_are_refused(changed, message):
    split = {"train": TRAIN, "train_labels": LABELS, "test": TEST, "test_labels": TEST_LABELS}
    with pytest.raises(DataError, match=message):
        knn_measurements("", "", **{**split, **changed})
