import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.labels.split import validation_split
from mast_plugin.evaluation.protocols.linear import choose_l2_weight, linear_measurements
from mast_plugin.evaluation.protocols.logistic import (
    LogisticModel,
    Standardisation,
    fit_logistic,
    fit_path,
)

pytestmark = pytest.mark.slow


def images(count, classes=7, features=20, skill=0.6, seed=0, dtype=torch.float64):
    """Correlated features of different scales and shifts, around one centre per class."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(99)
    centres = skill * fixed.normal(size=(classes, features))
    mix = fixed.normal(size=(features, features)) * np.logspace(0, -2, features)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=count - classes)])
    points = (centres[labels] + rng.normal(size=(count, features))) @ mix + 3
    return torch.tensor(points, dtype=dtype), torch.tensor(labels)


def standardised(*args, **kwargs):
    features, labels = images(*args, **kwargs)
    return Standardisation.of(features)(features), labels


def reference(l2_weight, count):
    inverse_l2 = 1 / (l2_weight * count)
    return LogisticRegression(C=inverse_l2, solver="newton-cg", tol=1e-9, max_iter=500)


@pytest.mark.parametrize("count", [600, 60, 15])  # the last one has fewer images than features
@pytest.mark.parametrize("l2_weight", [1.0, 1e-2, 1e-4])
def test_weights_agree_with_scikit_learn(count, l2_weight):
    features, labels = standardised(count)
    model = fit_logistic(features, labels, 7, l2_weight=l2_weight, tolerance=1e-8)
    expected = reference(l2_weight, count).fit(features.numpy(), labels.numpy())
    scale = np.abs(expected.coef_).max()
    np.testing.assert_allclose(model.weight.T, expected.coef_, rtol=0, atol=3e-4 * scale)
    # A constant beside the scores changes nothing, and the bias is free of any penalty.
    bias = expected.intercept_ - expected.intercept_.mean()
    np.testing.assert_allclose(model.bias - model.bias.mean(), bias, rtol=0, atol=3e-4 * scale)
    theirs = LogisticModel(torch.tensor(expected.coef_.T), torch.tensor(expected.intercept_))
    values = [objective(each, features, labels, l2_weight) for each in (model, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-8)


def objective(fitted, features, labels, l2_weight):
    scores = features.double() @ fitted.weight.double() + fitted.bias.double()
    penalty = l2_weight / 2 * fitted.weight.double().square().sum()
    return float(F.cross_entropy(scores, labels) + penalty)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("l2_weight", [1.0, 1e-2, 1e-4])
def test_the_default_tolerance_is_at_the_minimum(dtype, l2_weight):
    features, labels = standardised(400, dtype=dtype)
    model = fit_logistic(features, labels, 7, l2_weight=l2_weight)
    exact = fit_logistic(features.double(), labels, 7, l2_weight=l2_weight, tolerance=1e-7)
    assert model.weight.dtype == dtype
    torch.testing.assert_close(model.weight.double(), exact.weight, rtol=2e-2, atol=2e-2)
    values = [objective(each, features, labels, l2_weight) for each in (model, exact)]
    assert 0 <= values[0] - values[1] < 1e-5


def test_the_path_goes_from_strong_to_weak_and_each_is_the_fit_alone():
    features, labels = standardised(300)
    path = list(fit_path(features, labels, 7, l2_weights=[1e-3, 1.0, 0.1], tolerance=1e-7))
    assert [l2_weight for l2_weight, _ in path] == [1.0, 0.1, 1e-3]
    for l2_weight, model in path:
        alone = fit_logistic(features, labels, 7, l2_weight=l2_weight, tolerance=1e-7)
        torch.testing.assert_close(model.weight, alone.weight, rtol=1e-3, atol=1e-5)


def test_a_fit_starts_from_the_one_before(monkeypatch):
    features, labels = standardised(300)
    evaluations = []
    loss = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *args: evaluations.append(1) or loss(*args))
    path = fit_path(features, labels, 7, l2_weights=[0.1, 0.0999])
    next(path)
    cold = len(evaluations)
    next(path)
    assert len(evaluations) - cold <= 4 < 10 <= cold


def test_the_chosen_weight_is_the_best_of_all_on_the_validation_split():
    train, labels = images(150)
    candidates = np.logspace(1, -4, 6)
    fit, val = validation_split(labels, seed=3)
    tops = []
    for l2_weight in candidates:
        model = make_pipeline(StandardScaler(), reference(l2_weight, len(fit)))
        tops.append(model.fit(train[fit], labels[fit]).score(train[val], labels[val]))
    chosen = choose_l2_weight(train, labels, 7, candidates=candidates.tolist(), seed=3)
    assert max(tops) > tops[0] and max(tops) > tops[-1]
    assert chosen == candidates[int(np.argmax(tops))]


def test_equal_weights_go_to_the_strongest():
    train, labels = images(200, skill=50)
    assert choose_l2_weight(train, labels, 7, candidates=[1e-3, 1e-2]) == 1e-2


def test_rows_are_the_refitted_classifier_on_the_test_images():
    (train, labels), (test, test_labels) = images(400), images(300, seed=1)
    rows = linear_measurements("backbone", "digit", train, labels, test, test_labels)
    l2_weight = rows[0].chosen["l2_weight"]
    assert l2_weight == choose_l2_weight(train, labels, 7)
    model = make_pipeline(StandardScaler(), reference(l2_weight, 400)).fit(train, labels)
    assert [row.metric for row in rows] == ["top1", "top5", "mean_per_class"]
    assert rows[0].value == pytest.approx(100 * model.score(test, test_labels), abs=0.4)
    for row in rows:
        assert (row.space, row.protocol, row.subject) == ("backbone", "linear", "digit")
        assert row.low < row.value < row.high


def test_the_test_images_choose_nothing():
    (train, labels), (test, test_labels) = images(200), images(100, seed=1)
    same = linear_measurements("", "", train, labels, test, test_labels)
    other = linear_measurements("", "", train, labels, -test, test_labels.flip(0))
    assert other[0].chosen == same[0].chosen
    assert other[0].value != same[0].value


def test_the_weight_is_chosen_on_the_split_of_the_seed():
    split = (*images(150), *images(100, seed=1))
    chosen = [linear_measurements("", "", *split, seed=seed)[0].chosen for seed in range(6)]
    weights = [choose_l2_weight(*split[:2], 7, seed=seed) for seed in range(6)]
    assert [each["l2_weight"] for each in chosen] == weights
    assert len(set(weights)) > 1


def test_the_weight_is_chosen_under_the_mask():
    """What the mask leaves out, and what is scored in the end, must not choose."""
    (train, labels), test = images(150), images(100, seed=1)
    relevance = torch.full((20,), 1e-3)
    (row, *_) = linear_measurements("", "", train, labels, *test, relevance=relevance)
    weight = choose_l2_weight(train, labels, 7, relevance=relevance)
    assert row.chosen["l2_weight"] == weight != choose_l2_weight(train, labels, 7)


def test_float32_is_as_accurate():
    split = [*images(400), *images(300, seed=1)]
    single = [part.float() if part.is_floating_point() else part for part in split]
    for ours, exact in zip(
        linear_measurements("", "", *single), linear_measurements("", "", *split), strict=True
    ):
        assert ours.value == pytest.approx(exact.value, abs=0.7)


def test_standardisation_agrees_with_scikit_learn():
    features, _ = images(50)
    expected = StandardScaler().fit(features).transform(images(30, seed=1)[0])
    ours = Standardisation.of(features)(images(30, seed=1)[0])
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_dead_features_change_nothing():
    (train, labels), (test, test_labels) = images(200), images(100, seed=1)
    train, test = train.float(), test.float()
    dead = F.pad(train, (0, 3), value=0.1), labels, F.pad(test, (0, 3), value=0.1), test_labels
    plain = linear_measurements("", "", train, labels, test, test_labels)
    assert linear_measurements("", "", *dead)[0].value == pytest.approx(plain[0].value, abs=1.1)
    constant = Standardisation.of(torch.full((1000, 2), 0.1))
    assert constant(torch.full((5, 2), 0.1)).abs().max() < 1e-6


def test_it_stands_fully_collapsed_features():
    labels = images(200)[1]
    rows = linear_measurements("", "", torch.ones(200, 5), labels, torch.ones(200, 5), labels)
    assert rows[0].value < 40


def test_gradients_may_be_off_around_it():
    features, labels = standardised(100)
    with torch.no_grad():
        model = fit_logistic(features, labels, 7, l2_weight=0.1)
    assert not model.weight.requires_grad
    assert model.weight.abs().max() > 0.1


@pytest.mark.parametrize("candidates", [[], [0.0, 1.0], [-1.0]])
def test_weights_that_are_not_positive_are_refused(candidates):
    train, labels = images(100)
    with pytest.raises(ConfigurationError, match="all above 0"):
        choose_l2_weight(train, labels, 7, candidates=candidates)


def test_a_class_that_the_training_images_lack_is_named():
    (train, labels), (test, test_labels) = images(200), images(100, seed=1)
    with pytest.raises(DataError, match="Class 6 occurs in the test images only"):
        linear_measurements("", "", train, labels.clamp(max=5), test, test_labels)
