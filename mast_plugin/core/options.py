"""MAST's own options: ``method_kwargs`` of a configuration, parsed once and validated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

from mast_plugin.check import FLAG, number, one_of, open_interval, whole
from mast_plugin.core.equivariance import EquivarianceInput
from mast_plugin.core.mask import MaskMode, MaskStart
from mast_plugin.core.route import RoutePolicy, RouteScheme
from mast_plugin.errors import ConfigurationError
from mast_plugin.option import check_all, option, rules

_SHARE = number(0, 1)
_WEIGHT = number(0)
_WIDTH = whole(1, 1 << 16)

_VICREG = {
    "sim_loss_weight": "invariance_weight",
    "var_loss_weight": "variance_weight",
    "cov_loss_weight": "covariance_weight",
}
"""solo-learn's names of VICReg's weights; with every mask at one the terms are the same numbers."""


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """What :func:`~mast_plugin.core.loss.mast_loss` weighs its terms by; see docs/method.md.

    Source: the weights of variance and covariance are VICReg's, whose invariance weighs 25; the
    rest is this project's choice.

    Raises:
        ConfigurationError: for a value out of range; the message names the option and its range.
    """

    invariance_weight: float = option(
        10.0,
        _WEIGHT,
        "Of the distance between a pair's views inside of its types' masks; VICReg's is 25.",
    )
    variance_weight: float = option(
        25.0, _WEIGHT, "Of keeping every dimension's standard deviation at one."
    )
    covariance_weight: float = option(1.0, _WEIGHT, "Of keeping dimensions from saying the same.")
    capacity_weight: float = option(
        10.0, _WEIGHT, "Of holding each learned mask's mean at subspace_share."
    )
    uncertainty_weight: float = option(
        1.0, _WEIGHT, "Of fitting the uncertainty to the pairs' errors; it moves nothing else."
    )
    equivariance_weight: float = option(
        8.0,
        _WEIGHT,
        "Of predicting each type's difference from outside its mask (or, without masks, from all).",
    )
    subspace_share: float = option(
        0.9,
        open_interval(0, 1),
        "rho in (0, 1), the share of the dimensions that each subspace is held at.",
    )
    regulariser_mix: float = option(
        0.5,
        _SHARE,
        "a in [0, 1], how far variance and covariance follow the masks instead of all dimensions.",
    )
    min_pair_weight: float = option(
        0.8,
        open_interval(0, 1) | number(1, 1),
        "Least weight of a pair, before the batch's weights are rescaled to mean one.",
    )
    max_pair_weight: float = option(1.25, number(1), "Largest weight of a pair, likewise.")

    def __post_init__(self) -> None:
        """Check the ranges, and make floats of whole numbers."""
        for name, rule in rules(type(self)).items():
            value = getattr(self, name)
            rule.check(name, value)
            if isinstance(value, int) and isinstance(getattr(type(self), name), float):
                object.__setattr__(self, name, float(value))


@dataclass(frozen=True, kw_only=True)
class MASTOptions(LossOptions):
    """Options of the method; the symbols are those of docs/method.md.

    Raises:
        ConfigurationError: for a value out of range; the message names the option and its range.
    """

    proj_hidden_dim: int = option(2048, _WIDTH, "Width of the projector's two hidden layers.")
    proj_output_dim: int = option(
        2048, _WIDTH, "D, dimensions of the embedding that the masks divide."
    )
    masks: MaskMode = option(
        "learned",
        one_of(*get_args(MaskMode)),
        "learned; fixed: random and never learned; none: all ones (an ablation).",
    )
    mask_start: MaskStart = option(
        "random",
        one_of(*get_args(MaskStart)),
        "random, or blocks: each type first leaves dimensions of its own, 1 - rho of all.",
    )
    mask_spread: float = option(
        1.0,
        _WEIGHT,
        "Standard deviation of the mask logits at the start; 0 starts all subspaces equal.",
    )
    mask_lr: float = option(
        0.01,
        _WEIGHT,
        "Rate of the mask logits: absolute, scheduled, neither decayed nor scaled by LARS.",
    )
    uncertainty: bool = option(True, FLAG, "Whether pairs are weighed by a learned uncertainty.")
    uncertainty_lr: float = option(
        0.001,
        _WEIGHT,
        "Rate of the uncertainty head: absolute, scheduled, neither decayed nor scaled by LARS.",
    )
    full_route_prob: float = option(
        0.8, _SHARE, "p_full, the probability that every augmentation type is active on a pair."
    )
    active_prob: float = option(
        0.7, _SHARE, "p_active, the probability of each type on the other pairs."
    )
    route_scheme: RouteScheme = option(
        "independent",
        one_of(*get_args(RouteScheme)),
        "independent, or leave_one_out: on the other pairs all types act but one.",
    )
    equivariance_on: EquivarianceInput = option(
        "embedding",
        one_of(*get_args(EquivarianceInput)),
        "What differences are predicted from: embedding; or features, of the backbone: AugSelf's.",
    )

    @classmethod
    def parse(cls, method_kwargs: Mapping[str, Any]) -> "MASTOptions":
        """Read ``method_kwargs``, refusing what is not an option of the method.

        The weights of a recipe for solo-learn's VICReg are taken for those of the same terms.
        """
        for theirs, ours in _VICREG.items():
            if theirs in method_kwargs and ours in method_kwargs:
                raise ConfigurationError(
                    f"method_kwargs has both {theirs} and {ours}, which weigh the same: keep one"
                )
        method_kwargs = {_VICREG.get(key, key): value for key, value in method_kwargs.items()}
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(method_kwargs) - set(names))
        if unknown:
            raise ConfigurationError(
                f"method_kwargs.{unknown[0]} is not an option of mast; its options are "
                f"{', '.join(names)}"
            )
        check_all({"method_kwargs": method_kwargs}, rules(cls, "method_kwargs."))
        return cls(**method_kwargs)

    @property
    def routes(self) -> RoutePolicy:
        """How routes are drawn."""
        return RoutePolicy(self.full_route_prob, self.active_prob, self.route_scheme)

    @property
    def of_loss(self) -> LossOptions:
        """The part that the loss reads; masks that cannot move are asked for no size."""
        given = asdict(self)
        if self.masks != "learned":
            given["capacity_weight"] = 0.0
        return LossOptions(**{field.name: given[field.name] for field in fields(LossOptions)})


def taken_over(method_kwargs: Mapping[str, Any]) -> str:
    """One line that says which of VICReg's weights stand for ours; empty where none does."""
    found = [name for name in _VICREG if name in method_kwargs]
    pairs = [f"{name}={method_kwargs[name]} as {_VICREG[name]}" for name in found]
    return f"method_kwargs of VICReg are taken over: {', '.join(pairs)}" if pairs else ""
