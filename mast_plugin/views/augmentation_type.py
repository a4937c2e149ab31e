"""What an augmentation type is: its name, its parameters, and what is drawn for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mast_plugin.errors import ConfigurationError

Settings = Mapping[str, float]
"""Parameter to value."""
Ranges = dict[str, tuple[float, float]]
"""Name of a drawn number to its lower and upper end."""


@dataclass(frozen=True)
class Parameter:
    """One number that configures an augmentation type.

    Attributes:
        name: as written in a configuration.
        unit: what the number counts.
        low: smallest allowed value.
        high: largest allowed value.
        default: value where the configuration is silent.
        identity: value at which the type leaves an image alone and towards which ``strength``
            moves; ``None`` where strength does not apply.
        meaning: one line for the documentation.
    """

    name: str
    unit: str
    low: float
    high: float
    default: float
    identity: float | None
    meaning: str


@dataclass(frozen=True)
class AugmentationType:
    """A kind of augmentation.

    Attributes:
        name: as written in a configuration.
        prob: default probability with which an active type is applied to a view, in [0, 1].
        parameters: what can be configured; empty for a type that is on or off.
        meaning: one line for the documentation.
        drawn: what is drawn uniformly and independently for one application, given the parameters'
            values; see :func:`mast_plugin.views.drawing.ranges` for the units.
    """

    name: str
    prob: float
    parameters: tuple[Parameter, ...]
    meaning: str
    drawn: Callable[[Settings], Ranges] = lambda settings: {}

    @property
    def has_strength(self) -> bool:
        """Whether some parameter has an identity to move towards."""
        return any(parameter.identity is not None for parameter in self.parameters)

    def parameter(self, name: str) -> Parameter:
        """The parameter called ``name``.

        Raises:
            ConfigurationError: no such parameter; the message lists those that exist.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ["prob", *(["strength"] if self.has_strength else [])]
        known += [parameter.name for parameter in self.parameters]
        raise ConfigurationError(
            f"{self.name} has no parameter {name!r}: use one of {', '.join(known)}"
        )
