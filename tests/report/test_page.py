import base64
from html.parser import HTMLParser

import pytest
import torch

from mast_plugin.comparison.estimate import Comparison, ComparisonRow, Estimate
from mast_plugin.errors import ConfigurationError
from mast_plugin.evaluation.measurement import Measurement
from mast_plugin.report import section
from mast_plugin.report.content import Cost, Picture, ReportContent, Section
from mast_plugin.report.figure import new_figure
from mast_plugin.report.page import write_report
from mast_plugin.report.single import Findings, single_run

HOSTILE = '<script>alert("x")</script>'
SECTIONS = ("curves", "invariance", "masks", "overlap", "tree", "uncertainty", "pairs", "map")
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.ids, self.words = [], [], [], []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip() + (" " if "small" not in self.open else "")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def measurements(task: str = "digit") -> list[Measurement]:
    return [
        Measurement("backbone", "knn", task, "top1", 71.24, 69.0, 73.1, {"k": 20}),
        Measurement("embedding", "knn", task, "top1", 60.5),
        Measurement("backbone", "knn", task, "top5", 99.9),
        Measurement("backbone", "linear", task, "mean_per_class", 80.1),
        Measurement("subspace crop", "knn", task, "top1", 12.3),
        Measurement("backbone", "label-free", "", "rankme", 33.3),
        *(Measurement("backbone", "invariance", t, "invariance", 0.4) for t in ("crop", "hue")),
    ]


HEADER = {
    "method": "vicreg",
    "checkpoint": "run/<b>.ckpt",
    "num_train": 4096,
    "versions": {"torch": "2.11.0"},
    "seconds": {"knn": 1.5, "linear": 3.0},
    "configuration": {"name": HOSTILE, "max_epochs": 3},
}


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def picture(name: str, **options) -> Picture:
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, "hello")
    return Picture(name, figure, f"alt of {HOSTILE}", **options)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A report with masks and a profile, but neither metrics, uncertainty nor labels."""
    folder = tmp_path_factory.mktemp("run")
    findings = Findings(("crop", "hue"), torch.rand(2, 30) * 0.9 + 0.1)
    content = single_run(folder, {**HEADER, "method": "mast"}, measurements(HOSTILE), findings)
    return write_report(folder, content)


def test_every_section_is_there_and_in_the_contents(single):
    page = read(single)
    assert [i for i in page.ids if i != "contents"] == ["headline", *SECTIONS, "made"]
    links = [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")]
    assert all(link.removeprefix("#") in page.ids for link in links)
    assert {f"#{i}" for i in SECTIONS} <= set(links)
    assert len(page.ids) == len(set(page.ids))


def test_page_reaches_for_nothing_outside(single):
    page = read(single)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "srcset", "action", "data"):
            assert value.startswith(("data:image/", "#")), (tag, name, value[:60])
        assert not name.startswith("on")
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    source = single.read_text(encoding="utf-8")
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style and "http" not in style
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in (
        page.attributes
    )


def test_hostile_names_are_text(single):
    page = read(single)
    assert HOSTILE in page.text  # shown, as it is written
    assert "<script" not in single.read_text(encoding="utf-8")
    assert "run/<b>.ckpt" in page.text


def test_missing_parts_say_why(single):
    text = read(single).text
    assert "No curves: the run folder holds no metrics.csv" in text
    assert "No uncertainty: it was switched off" in text
    assert "No map: no labelled images" in text
    assert "No masks" not in text


def test_other_methods_have_no_masks_and_say_so(tmp_path):
    page = read(write_report(tmp_path, single_run(tmp_path, HEADER, [], Findings())))
    assert "No masks: the method is vicreg." in page.text
    assert "No uncertainty: the method is vicreg." in page.text
    assert "No measurements" in page.text
    assert "No invariance profile" in page.text
    assert "img" not in page.tags


def test_headline_shows_the_main_metric_per_protocol_space_and_task(single):
    rows = [[cell.strip() for cell in row] for row in read(single).rows]
    assert ["protocol", "space", HOSTILE] in rows
    assert ["knn", "backbone", "71.2 69.0 to 73.1"] in rows
    assert ["knn", "embedding", "60.5"] in rows
    assert ["linear", "backbone", "80.1"] in rows
    assert ["knn", "subspace crop", "12.3"] in rows
    assert ["backbone", "33.30"] in rows  # RankMe, without labels
    assert not any("99.9" in cell for row in rows for cell in row)


def test_best_space_of_a_protocol_is_marked(tmp_path):
    path = write_report(tmp_path, ReportContent("x", {}, measurements()))
    best = [c for c in path.read_text().split("<td ")[1:] if c.startswith('class="number best"')]
    assert len(best) == 1 and "71.2" in best[0]


def test_how_it_was_made(single):
    page = read(single)
    assert "torch 2.11.0" in page.text and "4,096" in page.text
    assert "4 s in all: knn 2 s, linear 3 s" in page.text
    assert '"max_epochs": 3' in page.text and "details" in page.tags


def test_pictures_are_files_and_inside(single):
    found = sorted(path.name for path in (single.parent / "pictures").iterdir())
    names = ["masks", "overlap", "parts", "profile-invariance", "tree"]
    assert found == sorted(f"{name}.{end}" for name in names for end in ("png", "svg"))
    page = read(single)
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    inside = {base64.b64decode(source.split(",")[1]) for source in sources}
    files = {path.read_bytes() for path in (single.parent / "pictures").iterdir()}
    assert inside <= files and len(sources) == len(names)
    alts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(alts) == len(sources) and all(alts)


def test_many_points_are_shown_as_pixels(tmp_path):
    sections = (
        Section("a", "A", "text", (picture("drawn"), picture("pixels", raster=True))),
        Section("b", "B", "", (), "nothing"),
    )
    page = read(write_report(tmp_path, ReportContent("x", {}, sections=sections)))
    kinds = [v[:15] for tag, name, v in page.attributes if (tag, name) == ("img", "src")]
    assert kinds == ["data:image/svg+", "data:image/png;"]


def test_several_methods_with_differences_and_costs(tmp_path):
    rows = (
        ComparisonRow(
            "digit",
            (Estimate(71.0, 70.0, 72.0), Estimate(69.0)),
            Estimate(2.0, 1.0, 3.0),
            "simclr",
        ),
        ComparisonRow("hue", (Estimate(50.0), None), Estimate(-0.5, -1.5, 0.5), "simclr"),
    )
    comparison = Comparison(("mast", "simclr"), rows, "linear, %", "95 % over 5 seeds")
    costs = (Cost("mast", 2, 3.42, 1234.0),)
    content = ReportContent(
        "x", {"seed": [0, 1]}, (), (section.methods(comparison),), comparison, costs
    )
    path = write_report(tmp_path, content)
    rows = [[cell.strip() for cell in row] for row in read(path).rows]
    assert ["task", "mast", "simclr", "mast minus the best baseline"] in rows
    assert ["digit", "71.0 70.0 to 72.0", "69.0", "+2.0 +1.0 to +3.0, to simclr"] in rows
    assert ["hue", "50.0", "\N{EN DASH}", "-0.5 -1.5 to +0.5, to simclr"] in rows
    assert ["mast", "2", "3.4", "1,234"] in rows
    source = path.read_text()
    assert 'best">+2.0' in source and 'best">-0.5' not in source


def test_the_same_content_gives_the_same_page(tmp_path):
    pages = [
        write_report(
            tmp_path / name,
            ReportContent("x", HEADER, measurements(), (Section("a", "A", "t", (picture("p"),)),)),
        ).read_bytes()
        for name in ("one", "two")
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Section("a b", "A", "", (), "nothing"),
        lambda: Section("a", "A", "text"),
        lambda: picture("../outside"),
        lambda: ReportContent("x", {}, sections=(Section("made", "A", "", (), "nothing"),)),
        lambda: Comparison(("a", "b"), (ComparisonRow("t", (None,)),), "m"),
    ],
)
def test_what_would_break_the_page_is_refused(make):
    with pytest.raises(ConfigurationError):
        make()
