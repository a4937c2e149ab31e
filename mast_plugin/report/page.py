"""A report as one HTML file that needs nothing else, and its pictures as files beside it."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mast_plugin.files.storage import write_whole
from mast_plugin.report import headline
from mast_plugin.report.content import Picture, ReportContent
from mast_plugin.report.figure import save

PAGE = "report.html"
PICTURES = "pictures"

_LARGEST_SVG = 400_000
_CSS_PX_PER_INCH = 96
_FOLDED = ("definitions", "configuration")


@dataclass(frozen=True)
class _Shown:
    """A picture as the page shows it: its whole content is in ``source``."""

    source: str
    alt: str
    caption: str
    width_px: int


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.html`` and, under ``pictures/``, every picture as PNG and SVG.

    The page is self-contained: pictures are inside it, and it loads nothing from anywhere.

    Args:
        folder: made where it is missing; files of the same names are replaced.
        content: what to show.

    Returns:
        The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        {
            "section": section,
            "pictures": [_shown(picture, folder / PICTURES) for picture in section.pictures],
        }
        for section in content.sections
    ]
    page = _template().render(
        content=content,
        sections=sections,
        tables=_tables(content),
        costs=headline.costs(content.costs) if content.costs else None,
        lead=_lead(content.header),
        facts=_facts(content.header),
        folded={name: _pretty(content.header[name]) for name in _FOLDED
                if content.header.get(name)},
    )  # fmt: skip
    path = folder / PAGE
    write_whole(path, page)
    return path


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    # Every name on the page is somebody's data: a task may be called <script>.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("mast_plugin.report").joinpath("template.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def _tables(content: ReportContent) -> tuple[headline.Table, ...]:
    if content.comparison is not None:
        return (headline.several_methods(content.comparison),)
    return headline.single_run(content.measurements)


def _shown(picture: Picture, folder: Path) -> _Shown:
    saved = save(picture.figure, folder, picture.name)
    use_png = picture.raster or saved.svg.stat().st_size > _LARGEST_SVG
    path, kind = (saved.png, "png") if use_png else (saved.svg, "svg+xml")
    encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    width_px = round(picture.figure.get_size_inches()[0] * _CSS_PX_PER_INCH)
    source = f"data:image/{kind};base64,{encoded}"
    return _Shown(source, picture.alt, picture.caption, width_px)


def _lead(header: Mapping[str, Any]) -> str:
    """One line under the title: which network, on what."""
    parts = [
        f"{header['method']}" if header.get("method") else "",
        f"{header['backbone']}" if header.get("backbone") else "",
        f"{header['num_train']:,} training images" if _counted(header, "num_train") else "",
        f"{header['num_test']:,} test images" if _counted(header, "num_test") else "",
        f"seed {_line('', header['seed'])}" if header.get("seed") is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _counted(header: Mapping[str, Any], name: str) -> bool:
    return isinstance(header.get(name), int)


def _facts(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every entry of the header that is not folded, as a name and a line of text."""
    return [
        (name.replace("_", " "), _line(name, value))
        for name, value in header.items()
        if name not in _FOLDED and value is not None and value != {} and value != []
    ]


def _line(name: str, value: Any) -> str:
    if name == "seconds" and isinstance(value, Mapping):
        stages = ", ".join(f"{stage} {float(seconds):.0f} s" for stage, seconds in value.items())
        return f"{sum(map(float, value.values())):.0f} s in all: {stages}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_line('', each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_line("", each) for each in value)
    return f"{value:,}" if isinstance(value, int) and name.startswith("num_") else str(value)


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
