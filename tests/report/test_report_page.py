"""The report, made from the committed models, in Chromium."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_footprint_report import FOOTPRINT
from test_sweep_report import MEASURED

from edgegolf.cards import read_card
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
        lambda _: len(driver.find_elements(By.CSS_SELECTOR, ".chart svg")) == len(CHARTS)
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
        name: len(page.find_elements(By.CSS_SELECTOR, f"#{name} [role=graphics-symbol]"))
        for name in CHARTS
    }
    assert marks["front"] >= 3 + 3 + 2  # ours, names, articles
    assert marks["variants"] >= 15
    assert marks["sweeps"] >= 4 + 4 + 1 + 1 + 6  # nets, their spreads, front, articles, published
    assert len(page.find_elements(By.CSS_SELECTOR, "#costs [aria-roledescription=point]")) == 2
    assert all(marks.values()), marks


def test_hovering_tells_the_net(page: webdriver.Chrome) -> None:
    point = page.find_element(
        By.CSS_SELECTOR, "#front [aria-roledescription=point][aria-label*=tight_resnet]"
    )
    ActionChains(page).move_to_element(point).perform()
    tip = WebDriverWait(page, 20).until(
        lambda _: page.find_element(By.CSS_SELECTOR, "#vg-tooltip-element.visible")
    )
    assert "tight_resnet" in tip.text
    assert "1,930" in tip.text


def test_hovering_tells_mean_and_spread_of_a_swept_net(page: webdriver.Chrome) -> None:
    selector = "#sweeps [aria-roledescription=point][aria-label*='{}']"
    point = page.find_element(By.CSS_SELECTOR, selector.format("double_cnn:2; seeds: 2"))
    ActionChains(page).scroll_to_element(point).move_to_element(point).perform()
    tip = WebDriverWait(page, 20).until(
        lambda _: page.find_element(By.CSS_SELECTOR, "#vg-tooltip-element.visible")
    )
    assert "2.50" in tip.text  # the mean of the errors
    assert "0.71" in tip.text
    page.find_element(By.CSS_SELECTOR, selector.format("by: JoshWarn"))
    page.find_element(By.CSS_SELECTOR, selector.format("double_cnn:2; by: article"))


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
        counts = [0 if cell.text == "·" else int(cell.text) for cell in cells]
        assert sum(counts) == 10_000
        assert len(shown.find_elements(By.TAG_NAME, "img")) == 24
    card = read_card(MODELS / "tight_resnet")
    assert card is not None
    assert sum(counts[::11]) == round(10_000 * card.files["int8.tflite"].test_accuracy)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_fit_a_phone(page: webdriver.Chrome, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    ground, label = page.execute_script(
        "const first = (colour) => Number(colour.match(/\\d+/)[0]);"
        "const label = document.querySelector('#front .role-axis-label text');"
        "return [first(getComputedStyle(document.body).backgroundColor),"
        " first(getComputedStyle(label).fill)];"
    )
    assert (ground > label) == (scheme == "light")
    assert abs(ground - label) > 150
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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
    titles = {name: title for name, (title, _, _) in charts.items()}
    assert titles["front"] == "Parameters and errors, mnist"
    assert titles["front-2"] == "Parameters and errors, elsewhere"
    assert {"variants-2", "training-2"} < set(charts)
    assert {each["net"] for each in charts["front-2"][2]["data"]["values"]} == {"linear"}

    write_report([MODELS / "linear", other], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Not made here: " in page
    assert "Test images by label" in page
