"""What a report holds, as plain data: numbers, pictures and the sentences between them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mast_plugin.comparison.estimate import Comparison
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_RESERVED = ("headline", "made", "contents", "cost")


@dataclass(frozen=True)
class Picture:
    """A figure on the page.

    Attributes:
        name: of its files, without ending: lower case, digits and hyphens.
        figure: what is drawn.
        alt: one sentence that stands for the picture where it cannot be seen.
        caption: a line below it; may be empty.
        raster: show the PNG, for pictures of many points or pixels; others are shown as SVG.
    """

    name: str
    figure: "Figure"
    alt: str
    caption: str = ""
    raster: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name, "a picture's name")


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        id: its anchor: lower case, digits and hyphens.
        title: its heading.
        text: how to read the pictures, and what a good result looks like.
        pictures: in order.
        missing: why there are none; empty if there are.
    """

    id: str
    title: str
    text: str
    pictures: tuple[Picture, ...] = ()
    missing: str = ""

    def __post_init__(self) -> None:
        _check_name(self.id, "a section's id")
        if bool(self.pictures) == bool(self.missing):
            raise ConfigurationError(
                f"section {self.id} needs either pictures or a line that says why there are none"
            )


@dataclass(frozen=True)
class Cost:
    """What a method's pretraining took.

    Attributes:
        method: its name.
        views: per image and step.
        minutes: of pretraining, wall clock.
        images_per_second: in training.
    """

    method: str
    views: int
    minutes: float
    images_per_second: float


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page.

    Attributes:
        title: of the page.
        header: of the evaluation: checkpoint, method, versions, configuration and so on.
        measurements: of a single run; shown as the headline where there is no comparison.
        sections: between the headline and how it was made.
        comparison: of several methods, or None.
        costs: of several methods; may be empty.
    """

    title: str
    header: Mapping[str, Any]
    measurements: Sequence[Measurement] = ()
    sections: tuple[Section, ...] = ()
    comparison: Comparison | None = None
    costs: tuple[Cost, ...] = field(default=())

    def __post_init__(self) -> None:
        ids = [section.id for section in self.sections]
        names = [picture.name for section in self.sections for picture in section.pictures]
        for kind, values in (("section", [*ids, *_RESERVED]), ("picture", names)):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ConfigurationError(f"{kind} {twice[0]} is there twice: rename one")


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{what} must be of lower-case letters, digits and hyphens, got {name!r}"
        )
