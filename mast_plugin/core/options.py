"""MAST's own options: ``method_kwargs`` of a configuration, parsed once and validated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from inspect import signature
from typing import Any, get_args

from mast_plugin.core.equivariance import EquivarianceInput
from mast_plugin.core.loss import mast_loss
from mast_plugin.core.mask import MaskMode, MaskStart
from mast_plugin.core.route import RoutePolicy, RouteScheme
from mast_plugin.errors import ConfigurationError, shown

_OF_LOSS = set(signature(mast_loss).parameters) - {"masks"}  # there: the masks themselves

_CHOICES = {
    "masks": get_args(MaskMode),
    "mask_start": get_args(MaskStart),
    "route_scheme": get_args(RouteScheme),
    "equivariance_on": get_args(EquivarianceInput),
}
_VICREG = {
    "sim_loss_weight": "invariance_weight",
    "var_loss_weight": "variance_weight",
    "cov_loss_weight": "covariance_weight",
}
"""solo-learn's names of VICReg's weights; with every mask at one the terms are the same numbers."""


@dataclass(frozen=True, kw_only=True)
class MASTOptions:
    """Options of the method; the symbols are those of docs/method.md.

    Raises:
        ConfigurationError: for a value out of range; the message names the option and its range.
    """

    proj_hidden_dim: int = 2048
    """Width of the projector's two hidden layers."""
    proj_output_dim: int = 2048
    """D, dimensions of the embedding that the masks divide."""

    masks: MaskMode = "learned"
    """``learned``; ``fixed``: random and never learned; ``none``: all ones (an ablation)."""
    mask_start: MaskStart = "random"
    """``random``, or ``blocks``: each type first leaves dimensions of its own, 1 - rho of all."""
    subspace_share: float = 0.9
    """rho in (0, 1), the share of the dimensions that each subspace is held at."""
    mask_spread: float = 1.0
    """Standard deviation of the mask logits at the start; 0 starts all subspaces equal."""
    mask_lr: float = 0.01
    """Rate of the mask logits: absolute, scheduled, neither decayed nor scaled by LARS."""

    uncertainty: bool = True
    """Whether pairs are weighed by a learned uncertainty."""
    uncertainty_lr: float = 0.001
    """Rate of the uncertainty head: absolute, scheduled, neither decayed nor scaled by LARS."""
    min_pair_weight: float = 0.8
    """Least weight of a pair, before the batch's weights are rescaled to mean one."""
    max_pair_weight: float = 1.25
    """Largest weight of a pair, likewise."""

    full_route_prob: float = 0.8
    """p_full, the probability that every augmentation type is active on a pair."""
    active_prob: float = 0.7
    """p_active, the probability of each type on the other pairs."""
    route_scheme: RouteScheme = "independent"
    """``independent``, or ``leave_one_out``: on the other pairs all types act but one."""

    invariance_weight: float = 10.0
    """Of the distance between a pair's views inside of its types' masks; VICReg's is 25."""
    variance_weight: float = 25.0
    """Of keeping every dimension's standard deviation at one."""
    covariance_weight: float = 1.0
    """Of keeping dimensions from saying the same."""
    capacity_weight: float = 10.0
    """Of holding each learned mask's mean at subspace_share."""
    uncertainty_weight: float = 1.0
    """Of fitting the uncertainty to the pairs' errors; it moves nothing else."""
    equivariance_weight: float = 8.0
    """Of telling each type's change from outside its mask (without masks, from everywhere)."""
    equivariance_on: EquivarianceInput = "embedding"
    """Where changes are told from: ``embedding``; or ``features``, of the backbone: AugSelf's."""
    regulariser_mix: float = 0.5
    """a in [0, 1], how far variance and covariance follow the masks instead of all dimensions."""

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
        return cls(**{name: _typed(cls, name, value) for name, value in method_kwargs.items()})

    @property
    def routes(self) -> RoutePolicy:
        """How routes are drawn."""
        return RoutePolicy(self.full_route_prob, self.active_prob, self.route_scheme)

    @property
    def of_loss(self) -> dict[str, Any]:
        """Keyword arguments of :func:`~mast_plugin.core.loss.mast_loss`.

        Every option that has the name of an argument is one, so that none is forgotten.
        """
        found = {name: value for name, value in asdict(self).items() if name in _OF_LOSS}
        if self.masks != "learned":
            found["capacity_weight"] = 0.0  # masks that cannot move are asked for no size
        return {**found, "weight_bounds": (self.min_pair_weight, self.max_pair_weight)}

    def __post_init__(self) -> None:
        """Check the ranges."""
        self._check_choices()
        for name in ("proj_hidden_dim", "proj_output_dim"):
            if not 1 <= getattr(self, name) <= 1 << 16:
                raise _refusal(name, getattr(self, name), f"at least 1 and at most {1 << 16}")
        for name in ("full_route_prob", "active_prob", "regulariser_mix"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise _refusal(name, getattr(self, name), "in [0, 1]")
        if not 0.0 < self.subspace_share < 1.0:
            raise _refusal("subspace_share", self.subspace_share, "in (0, 1)")
        if not 0.0 < self.min_pair_weight <= 1.0 <= self.max_pair_weight:
            bounds = (self.min_pair_weight, self.max_pair_weight)
            raise _refusal("min_pair_weight, max_pair_weight", bounds, "on both sides of 1")
        for name, value in asdict(self).items():
            if name.endswith(("_weight", "_lr", "_spread")) and not 0.0 <= value < float("inf"):
                raise _refusal(name, value, "finite and not negative")

    def _check_choices(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _refusal(name, getattr(self, name), f"one of {', '.join(choices)}")


def taken_over(method_kwargs: Mapping[str, Any]) -> str:
    """One line that says which of VICReg's weights stand for ours; empty where none does."""
    found = [name for name in _VICREG if name in method_kwargs]
    pairs = [f"{name}={method_kwargs[name]} as {_VICREG[name]}" for name in found]
    return f"method_kwargs of VICReg are taken over: {', '.join(pairs)}" if pairs else ""


def _typed(cls: type[MASTOptions], name: str, value: Any) -> Any:
    """Return the value in the type of the option's default; whole numbers pass for floats."""
    expected = type(getattr(cls, name))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if expected is float and is_number and abs(value) < 1e300:  # NaN fails it, too
        return float(value)
    if isinstance(value, expected) and isinstance(value, bool) == (expected is bool):
        return value
    raise _refusal(
        name,
        value,
        {int: "a whole number", float: "a finite number"}.get(
            expected, "true or false" if expected is bool else "a word"
        ),
    )


def _refusal(name: str, value: Any, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"method_kwargs.{name} is {shown(value)}; it must be {wanted}")
