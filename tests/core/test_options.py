import pytest

from mast_plugin.core.options import MASTOptions, taken_over
from mast_plugin.errors import ConfigurationError


def test_whole_numbers_pass_for_floats():
    options = MASTOptions.parse({"invariance_weight": 10, "masks": "fixed", "uncertainty": False})
    assert options.invariance_weight == 10.0 and isinstance(options.invariance_weight, float)
    assert options.masks == "fixed" and options.uncertainty is False


@pytest.mark.parametrize(("masks", "weight"), [("learned", 3.0), ("fixed", 0.0), ("none", 0.0)])
def test_only_masks_that_learn_are_held_at_their_size(masks, weight):
    options = MASTOptions(masks=masks, capacity_weight=3.0)
    assert options.of_loss.capacity_weight == weight


def test_unknown_option_is_refused_with_those_that_exist():
    with pytest.raises(ConfigurationError, match=r"temperature is not .*invariance_weight"):
        MASTOptions.parse({"temperature": 1.0})


def test_vicregs_weights_are_taken_for_those_of_the_same_terms():
    given = {"sim_loss_weight": 9, "var_loss_weight": 8.0, "cov_loss_weight": 2, "mask_lr": 0.1}
    options = MASTOptions.parse(given)
    assert options.invariance_weight == 9.0 and options.mask_lr == 0.1
    assert (options.variance_weight, options.covariance_weight) == (8.0, 2.0)
    assert "sim_loss_weight=9 as invariance_weight, var_loss" in taken_over(given)
    assert taken_over({"mask_lr": 0.1}) == ""


def test_a_weight_under_both_names_is_refused():
    with pytest.raises(ConfigurationError, match="both sim_loss_weight and invariance_weight"):
        MASTOptions.parse({"sim_loss_weight": 1.0, "invariance_weight": 1.0})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("masks", "hard"),
        ("mask_start", "block"),
        ("route_scheme", "all"),
        ("equivariance_on", "images"),
        ("proj_output_dim", 0),
        ("proj_hidden_dim", 0.5),
        ("full_route_prob", 1.1),
        ("active_prob", -0.1),
        ("regulariser_mix", 2),
        ("subspace_share", 0),
        ("min_pair_weight", 1.1),
        ("max_pair_weight", 0.9),
        ("invariance_weight", -1),
        ("equivariance_weight", float("inf")),
        ("mask_lr", float("nan")),
        ("uncertainty", 1),
        ("mask_spread", "wide"),
    ],
)
def test_impossible_value_is_refused_by_name(name, value):
    with pytest.raises(ConfigurationError, match=name):
        MASTOptions.parse({name: value})
