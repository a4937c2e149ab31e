"""``optimizer.kwargs``: its defaults, and whether the optimiser takes what was given."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from mast_plugin.check import FLAG, number
from mast_plugin.errors import ConfigurationError, shown
from mast_plugin.files.document import first_line

_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lars": {"momentum": 0.9, "eta": 1e-3, "clip_lr": False, "exclude_bias_n_norm": False},
    "adam": {},
    "adamw": {"betas": [0.9, 0.999]},
}
_LARS = {
    **dict.fromkeys(("momentum", "eta", "dampening", "eps"), number(0)),
    **dict.fromkeys(("clip_lr", "exclude_bias_n_norm", "nesterov"), FLAG),
}


def completed(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the optimiser's defaults where they are silent.

    Args:
        name: ``sgd``, ``lars``, ``adam`` or ``adamw``.
        given: options to their values.

    Raises:
        ConfigurationError: an option that the optimiser does not take, or not with this value.
    """
    _refuse_unknown(name, given, _LARS if name == "lars" else _parameters(name))
    if name == "lars":
        _check_lars(given)
    options = {**_DEFAULTS[name], **given}
    _try(name, options)
    return options


def _refuse_unknown(name: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Name what is not the optimiser's: a recipe's options are those of its own optimiser."""
    unknown = [key for key in given if key not in known]
    if unknown:
        rest = "".join(f", nor is {key}" for key in unknown[1:])
        taken_out = " ".join(f"~optimizer.kwargs.{key}" for key in unknown)
        raise ConfigurationError(
            f"optimizer.kwargs.{unknown[0]} is not an option of {name}{rest}: "
            f"take out what another optimizer had, with {taken_out}"
        )


def _check_lars(given: Mapping[str, Any]) -> None:
    """Check LARS's options one by one: what it is given wrongly would fail in a step."""
    for key, value in given.items():
        _LARS[key].check(f"optimizer.kwargs.{key}", value)


def _try(name: str, options: Mapping[str, Any]) -> None:
    """Make the optimiser of a single number, as most values are checked when one is made."""
    import torch

    try:
        _kind(name)([torch.zeros(1, requires_grad=True)], lr=0.1, **options)
    except Exception as error:
        raise ConfigurationError(
            f"{name} cannot take optimizer.kwargs={shown(dict(options))}: {first_line(error)}"
        ) from error


def _parameters(name: str) -> Collection[str]:
    return inspect.signature(_kind(name)).parameters


def _kind(name: str) -> Any:
    import torch

    from mast_plugin.core.lars import LARS

    kinds: dict[str, Any] = {
        "sgd": torch.optim.SGD,
        "lars": LARS,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    return kinds[name]
