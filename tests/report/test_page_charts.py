"""What the report's charts say and show, from their specifications and pictures."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_costs_markdown import RESULT
from test_footprint_report import FOOTPRINT
from test_models_tables import CARD
from test_sweep_report import MEASURED

from edgegolf.cards import Card, FileFacts, read_card
from edgegolf.footprint.result import LATENCY
from edgegolf.records import to_json
from edgegolf.report import page_charts, pictures
from edgegolf.report.page import headline, make_charts, write_report
from edgegolf.report.page_data import Sources, file_rows, read_sources
from edgegolf.sweep import summarize_runs

pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")

ROOT = Path(__file__).parent.parent.parent
SVG = "{http://www.w3.org/2000/svg}"
LIGHT, DARK = "#ffffff", "#151816"  # the page's grounds


def committed() -> list[Path]:
    return [
        *sorted((ROOT / "models").glob("*/*")),
        ROOT / "docs" / "footprint.json",
        ROOT / "docs" / "costs" / "cifar10.json",
        *sorted((ROOT / "docs" / "sweeps").glob("*.json")),
    ]


@pytest.fixture(scope="module")
def sources() -> Sources:
    return read_sources(committed())


@pytest.fixture(scope="module")
def charts(sources: Sources) -> dict[str, page_charts.Chart]:
    return make_charts(sources)


def card(net: str, parameters: int, accuracy: float, files: dict[str, tuple[int, float]]) -> Card:
    seeds = tuple(replace(CARD.seeds[0], seed=seed, test_accuracy=accuracy) for seed in (0, 1))
    facts = {name: FileFacts(size, "", right, right, 0.0) for name, (size, right) in files.items()}
    return replace(CARD, net=net, parameters=parameters, seeds=seeds, files=facts)


SMALL = card("small", 100, 0.985, {"int8.onnx": (700, 0.984), "float32.tflite": (2_100, 0.985)})
LARGE = card("large", 9_000, 0.99, {"int8.tflite": (9_500, 0.991)})


def test_findings_are_computed() -> None:
    front = page_charts.front([SMALL, LARGE], "mnist")
    variants = page_charts.variants([SMALL, LARGE], "mnist")
    assert front is not None
    assert variants is not None
    reached = "article's accuracy reached by 2 of 2 nets"
    assert front.finding == f"small: 98.50 % with 100 parameters; {reached}"
    assert variants.finding == (
        "small: 98.40 % in 700 bytes (int8.onnx), 3.0 times less than its float32.tflite"
    )
    worse = replace(LARGE, article_accuracy=0.995)
    front = page_charts.front([worse, replace(SMALL, article_accuracy=None)], "mnist")
    assert front is not None
    assert front.finding.endswith("article's accuracy reached by 0 of 1 net")
    alone = page_charts.front([replace(SMALL, article_accuracy=None)], "mnist")
    assert alone is not None
    assert alone.finding == "small: 98.50 % with 100 parameters"


def test_findings_of_sweeps_footprints_and_benches_are_computed() -> None:
    nets = summarize_runs(MEASURED.runs, MEASURED.costs)
    found = (
        page_charts.sweeps(nets, "mnist"),
        page_charts.sweep_costs(nets, "mnist"),
        page_charts.growth(FOOTPRINT),
        page_charts.latency([RESULT], "1 thread, here"),
    )
    assert [chart and chart.finding for chart in found] == [
        "Fewest parameters, mnist: 95 % with 408, 97 % with 932, 98 % with 2,358",
        "97 % takes 3,000 bytes (double_cnn:2) or 45.5 µs (double_cnn:2)",
        "Sharing weights, 4 iterations: 1,040 instead of 1,400 bytes, 6.0 instead of 6.0 µs"
        " (tflite)",
        "linear/int8.tflite: 1,234 µs with 8,494 bytes in litert",
    ]


def test_the_headline_is_of_the_smallest_file_that_is_about_as_good_as_any() -> None:
    other = replace(SMALL, dataset="elsewhere", parameters=7)
    folders = tuple((Path(net.net), net) for net in (SMALL, LARGE, other))
    assert headline(Sources(folders, (), ()), {}) == (
        "98.40 % of mnist in 700 bytes with 100 parameters; "
        "98.40 % of elsewhere in 700 bytes with 7 parameters"
    )


def scales(spec: page_charts.Spec) -> list[page_charts.Spec]:
    """The channels with an axis in a specification, wherever they are."""
    if isinstance(spec, list):
        return [found for each in spec for found in scales(each)]
    if not isinstance(spec, dict):
        return []
    own = [spec] if spec.get("axis") and spec.get("scale") else []
    return own + [found for each in spec.values() for found in scales(each)]


@pytest.mark.parametrize("look", [pictures.WIDE, pictures.PHONE], ids=["wide", "phone"])
def test_every_axis_has_numbers_where_its_points_are(
    charts: dict[str, page_charts.Chart], look: page_charts.Look
) -> None:
    for name, chart in charts.items():
        for channel in scales(chart.draw(look)):
            low, high = channel["scale"]["domain"]
            ticks = channel["axis"]["values"]
            assert len(ticks) >= 2, name
            assert low <= min(ticks) < max(ticks) <= high, name
            is_log = channel["scale"]["type"] == "log"
            whole = math.log(high / low) if is_log else high - low
            told = math.log(max(ticks) / min(ticks)) if is_log else max(ticks) - min(ticks)
            assert told > whole / 3, (name, channel)


def marks(svg: str) -> list[tuple[str, str, str]]:
    """What each point says, its colour and its outline."""
    found = re.findall(r'<path aria-label="([^"]*)"[^>]* d="([^"]*)"[^>]*fill="([^"]*)"', svg)
    return [(says, colour, outline) for says, outline, colour in found]


def test_a_kind_of_file_has_one_symbol_and_one_colour_everywhere(
    charts: dict[str, page_charts.Chart],
) -> None:
    looks: dict[str, set[tuple[str, str]]] = {}
    for name in ("variants", "variants-2"):
        for says, colour, outline in marks(pictures.to_svg(charts[name], pictures.WIDE)):
            file = says.split(", ")[1].split(":")[0]
            looks.setdefault(file, set()).add((colour, outline))
    assert len(looks) == 11
    assert all(len(look) == 1 for look in looks.values()), looks
    assert len({next(iter(look)) for look in looks.values()}) == 11


def test_shared_and_unshared_are_two_colours(charts: dict[str, page_charts.Chart]) -> None:
    svg = pictures.to_svg(charts["depth"], pictures.WIDE)
    told = {says.split(",")[0]: colour for says, colour, _ in marks(svg)}
    assert told == page_charts.ROLES
    texts = re.findall(r">([^<>]+)</text>", svg)
    assert sum(text.startswith(("shared: ", "unshared: ")) for text in texts) == 8


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour: str) -> float:
        channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_are_seen_on_light_and_dark_and_text_has_the_pages_colour(
    charts: dict[str, page_charts.Chart],
) -> None:
    for name, chart in charts.items():
        svg = pictures.to_svg(chart, pictures.WIDE)
        inks = set(re.findall(r'<text [^>]*fill="([^"]*)"', svg))
        if not name.startswith("anatomy"):
            assert inks == {"currentColor"}, name
            colours = set(re.findall(r'(?:fill|stroke)="(#\w+)"', svg))
            assert colours, name
            assert all(contrast(c, ground) >= 3 for c in colours for ground in (LIGHT, DARK))
    assert inks <= {"currentColor", page_charts.ON_PARTS}
    tiles = [*page_charts.PARTS.values(), page_charts.OTHER_PART]
    assert all(contrast(page_charts.ON_PARTS, tile) >= 4.5 for tile in tiles)


def test_latency_stands_in_the_table_with_its_conditions(sources: Sources, tmp_path: Path) -> None:
    rows = file_rows(sources)
    timed = [row for row in rows if row.p50_us is not None]
    assert {"tight_resnet", "loop_resnet:144"} < {row.net for row in timed}
    assert all(row.runtime and row.threads and row.system for row in timed)
    footprint = sources.footprints[0]
    from_footprint = [row for row in timed if row.system is footprint.system]
    told = {
        variant.cost(LATENCY, row.runtime)
        for row in from_footprint
        for net in footprint.comparison
        if net.net == row.net
        for variant in net.variants
        if (variant.file, variant.way) == (row.file, "edgegolf")
    }
    assert {row.p50_us for row in from_footprint} == told
    smaller = replace(footprint, comparison=tuple(
        replace(net, variants=tuple(
            replace(variant, costs=tuple(
                replace(cost, value=cost.value + (cost.name == "file")) for cost in variant.costs
            )) for variant in net.variants
        )) for net in footprint.comparison
    ))  # fmt: skip
    of_others = file_rows(replace(sources, footprints=(smaller,)))
    assert not any(row.net == "tight_resnet" and row.p50_us for row in of_others)
    (tmp_path / "bench.json").write_text(to_json([replace(RESULT, threads=3)]))
    write_report([tmp_path / "bench.json"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "p50: the median of single inferences on 3 threads, " in page
    assert RESULT.system.cpu in page


SUBSETS = {
    "one folder": ("models/mnist/linear",),
    "cifar10 only": ("models/cifar10/loop_resnet-144", "models/cifar10/tencnn"),
    "a sweep": ("docs/sweeps/mlp.json",),
    "a footprint": ("docs/footprint.json",),
    "benches": ("docs/costs/cifar10.json",),
}
SECTIONS = {
    "one folder": {"front", "variants", "anatomy", "training", "files", "systems"},
    "cifar10 only": {"front", "variants", "anatomy", "training", "files", "systems"},
    "a sweep": {"sweeps", "systems"},
    "a footprint": {"depth", "circuit", "systems"},
    "benches": {"latency", "files", "systems"},
}


@pytest.mark.parametrize("subset", SUBSETS)
def test_any_subset_makes_a_page_without_empty_sections(subset: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    write_report([ROOT / path for path in SUBSETS[subset]], output)
    page = output.read_text()
    found = set(re.findall(r'<(?:figure|section) id="([\w-]+)"', page)) - {"judgements"}
    assert found == SECTIONS[subset]
    first = re.search(r"<h1>(.*?)</h1>", page)
    assert first is not None
    assert any(letter.isdigit() for letter in first[1])
    assert "undefined" not in page
    assert "NaN" not in page
    assert "None" not in page
    assert output.stat().st_size < 400_000


def test_strangers_benches_have_their_names_and_nothing_is_invented(tmp_path: Path) -> None:
    strangers = [
        replace(RESULT, file="/home/me/squeezenet.onnx", runtime="onnxruntime", parameters=None,
                accuracy=None, dataset=None, macs=None),
        replace(RESULT, file="broken.onnx", error="cannot open /home/me/broken.onnx on host7",
                latency_us=None, size_bytes=None),
        replace(RESULT, file="empty.onnx", size_bytes=0, latency_us=None, accuracy=1.0),
    ]  # fmt: skip
    (tmp_path / "bench.json").write_text(to_json(strangers))
    write_report([tmp_path / "bench.json"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "squeezenet.onnx: 1,234&nbsp;µs with 8,494&nbsp;bytes in onnxruntime</h1>" in page
    assert "1 measurement failed and left out." in page
    assert "host7" not in page
    assert "/home/me" not in page
    assert "Mistakes" not in page


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&\x00\x1b\ud800\ufffe"
    folder = tmp_path / "net"
    folder.mkdir()
    facts = {f"{evil}.onnx": CARD.files["int8.tflite"], "int8.tflite": CARD.files["int8.tflite"]}
    hostile = replace(CARD, net=evil, dataset=evil, files=facts, packages={evil: evil})
    (folder / "card.json").write_text(to_json(hostile))
    bench = replace(RESULT, file=f"a/{evil}.onnx", runtime=evil, dataset=evil,
                    system=replace(RESULT.system, cpu=evil, os=evil))  # fmt: skip
    (tmp_path / "bench.json").write_text(to_json([bench]))
    runs = tuple(replace(run, net=f"mlp:{evil}", dataset=evil) for run in MEASURED.runs[:1])
    sweep = replace(MEASURED, name=evil, title=evil, dataset=evil, runs=runs, costs=())
    (tmp_path / "footprint.json").write_text(to_json(replace(FOOTPRINT, net=evil)))
    paths = [folder, tmp_path / "bench.json", tmp_path / "footprint.json"]
    write_report(paths, tmp_path / "report.html", tmp_path / "figures")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<script") == 1
    assert "alert(1)&lt;" in page
    chart = page_charts.sweep(replace(sweep, runs=MEASURED.runs))
    pictures.draw(chart, tmp_path / "figures" / "sweep.svg")
    for picture in (tmp_path / "figures").glob("*.svg"):
        tree = ElementTree.parse(picture)  # well-formed, whatever the names are
        assert not tree.findall(f".//{SVG}script")


def test_errors_of_none_and_all_images_have_a_place() -> None:
    perfect = card("perfect", 5, 1.0, {"int8.tflite": (50, 1.0)})
    hopeless = card("hopeless", 50, 0.0, {"int8.tflite": (60, 0.0)})
    for chart in (page_charts.front([perfect, hopeless], "mnist"),
                  page_charts.variants([perfect, hopeless], "mnist")):  # fmt: skip
        assert chart is not None
        svg = pictures.to_svg(chart, pictures.WIDE)
        assert "NaN" not in svg
        assert {says.split(":")[0].split(",")[0] for says, *_ in marks(svg)} == {
            "perfect", "hopeless"
        }  # fmt: skip


@pytest.mark.parametrize("number", [0, -7, 2**63 - 1])
def test_numbers_that_cannot_be_are_not_drawn(number: int, tmp_path: Path) -> None:
    facts = {"int8.onnx": FileFacts(number, "", 0.5, 1e300, 0.0)}
    wrong = replace(CARD, parameters=number, macs=number, files=facts)
    (tmp_path / "card.json").write_text(to_json(wrong))
    epochs = [{"epoch": number - 1, "validation_accuracy": -1e300}] * 2
    runs = {"runs": [{"seed": number, "epochs": epochs}]}
    (tmp_path / "history.json").write_text(json.dumps(runs))
    latency = replace(RESULT.latency_us, p50=float(min(number, 0)))
    benches = [replace(RESULT, size_bytes=number), replace(RESULT, latency_us=latency)]
    (tmp_path / "bench.json").write_text(to_json(benches))
    write_report([tmp_path, tmp_path / "bench.json"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "<figure" not in page
    assert 'id="files"' in page


def test_thousands_of_benches_make_a_bounded_page(tmp_path: Path) -> None:
    many = [replace(RESULT, file=f"net{n}.onnx", size_bytes=1000 + n) for n in range(5_000)]
    (tmp_path / "bench.json").write_text(to_json(many))
    write_report([tmp_path / "bench.json"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "3,000 more rows are not shown." in page
    assert "Only 2,000 of 5,000 are drawn." in page
    assert len(page) < 5_000_000


def test_ticks_read_as_they_were_measured(charts: dict[str, page_charts.Chart]) -> None:
    """Vega writes the numbers whose widths were reckoned with."""
    spec = charts["front"].draw(pictures.WIDE)
    svg = pictures.to_svg(charts["front"], pictures.WIDE)
    texts = set(re.findall(r">([^<>]+)</text>", svg))
    for channel in scales(spec):
        assert {page_charts.number(tick) for tick in channel["axis"]["values"]} <= texts


def test_committed_cards_are_told_as_they_are(sources: Sources) -> None:
    known = read_card(ROOT / "models" / "mnist" / "tight_resnet")
    assert known is not None
    best = page_charts.best_file(c for _, c in sources.folders if c.dataset == "mnist")
    assert best is not None
    _, name, facts = best
    assert f"{100 * facts.test_accuracy:.2f} % of mnist in" in headline(sources, {})
    assert json.loads(to_json(best[0]))["files"][name]["size_bytes"] == facts.size_bytes
