import pytest
import torch

from mast_plugin.errors import ConfigurationError, DataError
from mast_plugin.evaluation.labels.split import few_per_class, label_fraction, validation_split
from mast_plugin.evaluation.labels.tasks import Task

# Classes of 40, 3, 2 and 15 images in no order; class 2 does not occur.
COUNTS = {0: 40, 1: 3, 3: 2, 4: 15}
LABELS = torch.tensor([c for c, n in COUNTS.items() for _ in range(n)])
LABELS = LABELS[torch.randperm(len(LABELS), generator=torch.Generator().manual_seed(5))]


def counts(indices):
    found = torch.bincount(LABELS[indices], minlength=5).tolist()
    return {label: found[label] for label in COUNTS}


def test_both_parts_together_are_all_images():
    fit, val = validation_split(LABELS)
    assert sorted(fit.tolist() + val.tolist()) == list(range(len(LABELS)))
    assert fit.tolist() == sorted(fit.tolist())
    assert val.tolist() == sorted(val.tolist())


def test_every_class_gives_its_share_and_keeps_one():
    _, val = validation_split(LABELS)
    assert counts(val) == {0: 8, 1: 1, 3: 1, 4: 3}
    assert counts(validation_split(LABELS, 0.9)[0]) == {0: 4, 1: 1, 3: 1, 4: 1}


@pytest.mark.parametrize(
    "draw",
    [
        lambda seed: validation_split(LABELS, seed=seed)[1],
        lambda seed: few_per_class(LABELS, 2, seed),
        lambda seed: label_fraction(LABELS, 0.2, seed),
    ],
)
def test_a_seed_is_a_draw(draw):
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_every_image_is_as_likely():
    draws = torch.cat([validation_split(LABELS, seed=seed)[1] for seed in range(2000)])
    often = torch.bincount(draws, minlength=len(LABELS))
    share = torch.tensor([8 / 40, 1 / 3, 0, 1 / 2, 3 / 15])[LABELS]
    deviation = (2000 * share * (1 - share)).sqrt()
    assert ((often - 2000 * share).abs() < 4.5 * deviation).all()


def test_the_random_state_is_left_alone():
    before = torch.get_rng_state()
    validation_split(LABELS)
    assert torch.equal(torch.get_rng_state(), before)


def test_few_per_class_are_so_many_of_each():
    assert counts(few_per_class(LABELS, 2)) == dict.fromkeys(COUNTS, 2)


def test_fewer_are_a_part_of_more():
    assert set(few_per_class(LABELS, 1).tolist()) < set(few_per_class(LABELS, 2).tolist())
    assert set(label_fraction(LABELS, 0.1).tolist()) < set(label_fraction(LABELS, 0.5).tolist())


def test_a_fraction_has_at_least_one_of_each():
    assert counts(label_fraction(LABELS, 0.01)) == dict.fromkeys(COUNTS, 1)
    assert counts(label_fraction(LABELS, 0.4)) == {0: 16, 1: 1, 3: 1, 4: 6}
    assert counts(label_fraction(LABELS, 1.0)) == COUNTS


def test_a_scarce_class_is_named():
    with pytest.raises(DataError, match=r"Class 3 has 2 training images, and it takes 3"):
        few_per_class(LABELS, 3)
    with pytest.raises(DataError, match="Class 1 has 1 training image, and it takes 2"):
        validation_split(torch.tensor([0, 0, 1, 2, 2]))


def test_a_scarce_class_is_called_by_its_name_where_the_task_is_known():
    labels = torch.tensor([0, 0, 1])
    task = Task("hue", ("red", "blue"), labels, labels)
    said = r"^Class 'blue' of the task hue has 1 training image"
    with pytest.raises(DataError, match=said), task.named():
        validation_split(labels)


def test_no_labels_are_refused():
    with pytest.raises(DataError, match="no labels"):
        label_fraction(torch.tensor([], dtype=torch.int64), 0.1)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigurationError, match="share"):
        validation_split(LABELS, share)
    with pytest.raises(ConfigurationError, match="share"):
        label_fraction(LABELS, share)
    with pytest.raises(ConfigurationError, match="0 images per class"):
        few_per_class(LABELS, 0)
