"""``optimizer.kwargs``: its defaults, and whether the optimiser takes what was given."""

from collections.abc import Mapping
from typing import Any

from mast_plugin.check import FLAG, number, shown
from mast_plugin.document import first_line
from mast_plugin.errors import ConfigurationError

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
"""The host's own, which has to be asked by rules: what it is given wrongly fails in a step."""


def completed(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the optimiser's defaults where they are silent.

    Args:
        name: ``sgd``, ``lars``, ``adam`` or ``adamw``.
        given: options to their values.

    Raises:
        ConfigurationError: an option that the optimiser does not take, or not with this value.
    """
    if name == "lars":
        for key, value in given.items():
            if key not in _LARS:
                raise ConfigurationError(
                    f"optimizer.kwargs.{key} is not an option of lars: take it out with "
                    f"~optimizer.kwargs.{key}"
                )
            _LARS[key].check(f"optimizer.kwargs.{key}", value)
    options = {**_DEFAULTS[name], **given}
    if name != "lars":
        _try(name, options)
    return options


def _try(name: str, options: Mapping[str, Any]) -> None:
    """Make the optimiser of a single number, as torch checks the values when it makes one."""
    import torch

    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    try:
        kind([torch.zeros(1, requires_grad=True)], lr=0.1, **options)  # type: ignore[operator]
    except Exception as error:
        raise ConfigurationError(
            f"{name} cannot take optimizer.kwargs={shown(dict(options))}: {first_line(error)}"
        ) from error
