"""The report, made from the committed models, in Chromium."""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_footprint_report import FOOTPRINT
from test_sweep_report import MEASURED

from edgegolf.cards import read_card
from edgegolf.data import SOURCES
from edgegolf.errors import EdgegolfError
from edgegolf.records import to_json
from edgegolf.report.page import make_charts, write_report
from edgegolf.report.page_data import read_sources

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("vl_convert", reason="vl-convert-python is not installed")

from chromium import NEEDS_CHROMIUM, requests, start_chromium
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

MODELS = Path(__file__).parent.parent.parent / "models" / "mnist"
CHARTS = {"front", "variants", "sweeps", "costs", "anatomy", "depth", "training"}
POINT = ".wide [aria-roledescription=point]"

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three nets, a footprint and a sweep, with pictures."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "footprint.json").write_text(to_json(FOOTPRINT))
    (folder / "sweep.json").write_text(to_json(MEASURED))
    nets = [MODELS / name for name in ("linear", "tight_resnet", "pooled_linear")]
    records = [folder / "footprint.json", folder / "sweep.json"]
    write_report([*nets, *records], folder / "report.html", folder / "figures")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[webdriver.Chrome]:
    driver = start_chromium()
    driver.get((folder / "report.html").as_uri())
    WebDriverWait(driver, 60).until(
        lambda _: len(driver.find_elements(By.CSS_SELECTOR, ".wide svg")) == len(CHARTS)
    )
    yield driver
    driver.quit()


def rows(page: webdriver.Chrome) -> list[list[str]]:
    """The cells of the rows that are shown."""
    found: list[list[str]] = page.execute_script(
        "return [...document.querySelectorAll('#files tbody tr')].filter((row) => !row.hidden)"
        ".map((row) => [...row.cells].map((cell) => cell.textContent));"
    )
    return found


def test_it_is_one_small_file(folder: Path) -> None:
    assert 100_000 < (folder / "report.html").stat().st_size < 5_000_000


def test_every_chart_draws_its_data(page: webdriver.Chrome) -> None:
    marks = {
        name: len(
            page.find_elements(By.CSS_SELECTOR, f"#{name} .wide [aria-roledescription=point]")
        )
        for name in CHARTS
    }
    assert marks["front"] == 3 + 3  # ours, articles
    assert marks["variants"] >= 15
    assert marks["sweeps"] == 4 + 1 + 6  # nets, articles, published
    assert marks["costs"] == 2
    assert marks["depth"] == 2 * 2 * 3  # bytes and latency, shared and unshared, iterations
    assert page.find_element(By.CSS_SELECTOR, "h1").text.startswith("99.07 % of mnist in 1,812 byt")


def tip(page: webdriver.Chrome, says: str) -> str:
    """What is told of the point that says so, when the pointer is on it."""
    point = page.find_element(By.CSS_SELECTOR, f"{POINT}[aria-label^='{says}']")
    ActionChains(page).scroll_to_element(point).move_to_element(point).perform()
    shown = WebDriverWait(page, 20).until(lambda _: page.find_element(By.ID, "tip"))
    WebDriverWait(page, 20).until(lambda _: shown.is_displayed())
    return str(shown.text)


def test_hovering_tells_what_a_point_is(page: webdriver.Chrome) -> None:
    told = tip(page, "tight_resnet: 99.11")
    assert told == "tight_resnet: 99.11 % with 1,930 parameters, 3 seeds"
    assert "97.50 ± 0.71 %" in tip(page, "double_cnn:2: 97.50 ± 0.71 % with 932 parameters")


OVERLAPS = """
const found = [];
for (const chart of document.querySelectorAll(".chart")) {
  const texts = [...chart.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  boxes.forEach((one, n) => {
    if (!one.width) return;
    if (one.right > document.documentElement.clientWidth + 1) found.push(texts[n].textContent);
    boxes.slice(n + 1).forEach((other, m) => {
      const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
      if (wide > 1 && high > 3) found.push([texts[n].textContent, texts[n + 1 + m].textContent]);
    });
  });
}
return found;
"""


@pytest.mark.parametrize("width", [1280, 1000, 700, 600, 390, 320])
def test_no_label_covers_another_at_any_width(width: int, whole: webdriver.Chrome) -> None:
    whole.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    assert whole.execute_script(OVERLAPS) == []
    assert whole.execute_script("return document.documentElement.scrollWidth") <= width
    heights = whole.execute_script(
        "return [...document.querySelectorAll('.chart text')]"
        ".map((text) => text.getBoundingClientRect())"
        ".filter((box) => box.width > 2 * box.height && box.height).map((box) => box.height)"
    )
    assert min(heights) >= 8
    whole.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """The report of everything that is committed."""
    root = MODELS.parent.parent
    paths = [*sorted((root / "models").glob("*/*")), root / "docs" / "footprint.json"]
    paths += [root / "docs" / "costs" / "cifar10.json", *sorted(root.glob("docs/sweeps/*.json"))]
    output = tmp_path_factory.mktemp("whole") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgegolf.report.page._judge", lambda _: ([], []))  # tested with few nets
        write_report(paths, output)
    driver = start_chromium()
    driver.get(output.as_uri())
    yield driver
    driver.quit()


def test_the_table_sorts_and_filters(page: webdriver.Chrome) -> None:
    head = page.find_elements(By.CSS_SELECTOR, "#files th")
    column = [each.text for each in head].index("bytes")

    def sizes() -> list[int]:
        return [int(row[column].replace(",", "")) for row in rows(page)]

    head[column].find_element(By.TAG_NAME, "button").click()
    assert sizes() == sorted(sizes())
    head[column].find_element(By.TAG_NAME, "button").click()
    assert sizes() == sorted(sizes(), reverse=True)
    assert head[column].get_attribute("aria-sort") == "descending"
    everything = len(rows(page))
    field = page.find_element(By.ID, "filter")
    field.send_keys("tight_resnet int8")
    shown = rows(page)
    assert 0 < len(shown) < everything
    assert all("tight_resnet" in row[0] and "int8" in row[1] for row in shown)
    assert page.find_element(By.ID, "count").text == f"{len(shown)} of {everything} rows"
    field.clear()
    field.send_keys(" ")
    assert len(rows(page)) == everything


def test_mistakes_of_the_chosen_net_are_shown(page: webdriver.Chrome) -> None:
    if not page.find_elements(By.ID, "judged"):
        pytest.skip("MNIST is not on this machine")
    chooser = Select(page.find_element(By.ID, "judged"))
    assert chooser.first_selected_option.text == "tight_resnet, int8.tflite"
    for name in ("linear, int8.tflite", "tight_resnet, int8.tflite"):
        chooser.select_by_visible_text(name)
        (shown,) = (e for e in page.find_elements(By.CLASS_NAME, "judgement") if e.is_displayed())
        cells = shown.find_elements(By.CSS_SELECTOR, ".confusion tbody td")
        assert name in shown.find_element(By.TAG_NAME, "h3").text
        counts = [0 if cell.text == "·" else int(cell.text) for cell in cells]
        assert sum(counts) == 10_000
        assert len(shown.find_elements(By.TAG_NAME, "img")) == 24
    card = read_card(MODELS / "tight_resnet")
    assert card is not None
    assert sum(counts[::11]) == round(10_000 * card.files["int8.tflite"].test_accuracy)


COLOURS = """
const rgb = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
const ground = rgb(getComputedStyle(document.body).backgroundColor);
const seen = (selector, property) => [...document.querySelectorAll(selector)]
  .filter((each) => each.textContent.trim())
  .map((each) => rgb(getComputedStyle(each)[property]));
return [ground, [
  ...seen("figure:not([id^=anatomy]) .chart text", "fill"),
  ...seen("h1, h2, h3, p, td:not([class]), th, figcaption, summary", "color"),
]];
"""


def luminance(channels: list[float]) -> float:
    """Source: WCAG 2.2."""
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_text_is_read(page: webdriver.Chrome, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    ground, inks = page.execute_script(COLOURS)
    assert (luminance(ground) > 0.5) == (scheme == "light")
    assert len(inks) > 100
    for ink in {tuple(ink) for ink in inks}:
        darker, lighter = sorted((luminance(list(ink)), luminance(ground)))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, ink


def test_print_shows_what_hovering_would(page: webdriver.Chrome, tmp_path: Path) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    printed = page.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.69})
    (tmp_path / "report.pdf").write_bytes(base64.b64decode(printed["data"]))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = page.execute_script(
        "const seen = (each) => each.checkVisibility({contentVisibilityAuto: true});"
        "return {"
        " cells: [...document.querySelectorAll('td')].filter((c) => !c.closest('.judgement'))"
        "  .every(seen),"
        " wide: [...document.querySelectorAll('.wide')].every(seen),"
        " phone: [...document.querySelectorAll('.phone')].some(seen),"
        " controls: [...document.querySelectorAll('input, select')].some(seen),"
        " ground: getComputedStyle(document.body).backgroundColor}"
    )
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == {
        "cells": True, "wide": True, "phone": False, "controls": False,
        "ground": "rgb(255, 255, 255)",
    }  # fmt: skip
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "report.pdf", "-"], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    for value in ("tight_resnet: 99.11 %", "2.50", "0.71", "1,040", "16,500"):
        assert value in text


def test_nothing_is_asked_for_and_nothing_complained_of(
    page: webdriver.Chrome, folder: Path
) -> None:
    page.get((folder / "report.html").as_uri())
    time.sleep(0.5)
    asked = requests(page)
    assert asked
    assert [each for each in asked if not each.startswith(("file:", "data:", "blob:"))] == []
    assert page.get_log("browser") == []


def test_each_chart_is_a_picture_too(folder: Path) -> None:
    from PIL import Image

    for name in CHARTS:
        assert b"<svg" in (folder / "figures" / f"{name}.svg").read_bytes()
        with Image.open(folder / "figures" / f"{name}.png") as picture:
            assert picture.width > 400
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 5


def test_what_is_no_source_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("text")
    for path in (tmp_path / "empty", tmp_path / "text.json", tmp_path / "missing"):
        with pytest.raises(EdgegolfError, match=path.name):
            write_report([path], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_data_sets_have_charts_of_their_own_and_a_missing_one_costs_no_other(
    tmp_path: Path,
) -> None:
    other = tmp_path / "linear"
    shutil.copytree(MODELS / "linear", other)
    card = read_card(MODELS / "linear")
    assert card is not None
    (other / "card.json").write_text(to_json(replace(card, dataset="elsewhere")))
    sources = read_sources([MODELS / "linear", other, MODELS / "tight_resnet"])
    charts = make_charts(sources)
    assert charts["front"].subject == "Parameters and errors, mnist"
    assert charts["front-2"].subject == "Parameters and errors, elsewhere"
    assert {"variants-2", "training-2"} < set(charts)
    assert [row[0] for row in charts["front-2"].rows] == ["linear"]

    write_report([MODELS / "linear", other], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "The test images of elsewhere are not here" in page
    if SOURCES["mnist"].find() is not None:
        assert "Test images by label" in page
