"""The page in Chromium, with a mouse, a finger, keys, and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chromium import NEEDS_CHROMIUM, requests, start_chromium
from demo_models import LINEAR, TIGHT_RESNET
from PIL import Image
from strokes import Stroke, strokes
from test_preparing import SEVEN, drawing

from edgegolf.data import Split, load_dataset
from edgegolf.data.cifar10 import CLASS_NAMES
from edgegolf.demo.guessing import open_model
from edgegolf.demo.preparing import prepare
from edgegolf.errors import EdgegolfError

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.actions.action_builder import ActionBuilder  # noqa: E402
from selenium.webdriver.common.actions.pointer_input import PointerInput  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

DIGITS = 100
MODELS = (TIGHT_RESNET, LINEAR)

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, url: str) -> webdriver.Chrome:
    browser.get(url)
    WebDriverWait(browser, 20).until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "li")) == 2)
    return browser


@pytest.fixture(scope="module")
def digits() -> Split:
    """MNIST's test images."""
    try:
        return load_dataset("mnist").split("test")
    except EdgegolfError as error:
        pytest.skip(error.message)


def draw(page: webdriver.Chrome, lines: list[Stroke], kind: str = "mouse") -> None:
    """Move a real pointer along strokes given in pixels of a 28 x 28 image."""
    paper = page.find_element(By.ID, "paper")
    box = paper.rect
    pointer = PointerInput(kind, kind)
    actions = ActionBuilder(page, mouse=pointer, duration=0)

    def move(x: float, y: float) -> None:
        left = round(box["x"] + x / 28 * box["width"])
        top = round(box["y"] + y / 28 * box["height"])
        actions.pointer_action.move_to_location(left, top)

    for line in lines:
        move(*line[0])
        actions.pointer_action.pointer_down()
        for x, y in line[1:]:
            move(x, y)
        actions.pointer_action.pointer_up()
    actions.perform()


def guesses(page: webdriver.Chrome) -> list[str]:
    """The class that each model says, once the server has answered for all that is drawn."""
    script = """
        if (document.getElementById("guesses").ariaBusy === "true") return null;
        return [...document.querySelectorAll(".class")].map((each) => each.textContent);
    """
    found: list[str] = WebDriverWait(page, 20, poll_frequency=0.02).until(
        lambda b: b.execute_script(script)
    )
    return found


def clear(page: webdriver.Chrome) -> None:
    page.execute_script("document.getElementById('clear').click()")


def picture(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_replayed_test_digits_are_recognised(page: webdriver.Chrome, digits: Split) -> None:
    found = []
    for image in digits.images[:DIGITS, :, :, 0]:
        clear(page)
        draw(page, strokes(image))
        found.append(guesses(page)[0])
    right = np.array(found) == digits.labels[:DIGITS].astype(str)
    assert right.mean() >= 0.95, np.flatnonzero(~right)


def test_each_model_shows_bars_microseconds_and_bytes(page: webdriver.Chrome) -> None:
    draw(page, SEVEN)
    assert guesses(page) == ["7", "7"]
    for card, path in zip(page.find_elements(By.CSS_SELECTOR, "li"), MODELS, strict=True):
        assert card.find_element(By.CLASS_NAME, "name").text == f"{path.parent.name} {path.name}"
        bars = card.find_elements(By.CSS_SELECTOR, ".bar > div")
        heights = [bar.rect["height"] for bar in bars]
        assert int(np.argmax(heights)) == 7
        assert len(heights) == 10
        sure = card.find_element(By.CLASS_NAME, "sure").text
        assert re.fullmatch(r"[\d.]+ % sure, after [\d,.]+ µs", sure)
        model = open_model(path)
        facts = {
            each.find_element(By.TAG_NAME, "dt").text: each.find_element(By.TAG_NAME, "dd").text
            for each in card.find_elements(By.CSS_SELECTOR, "dl > div")
        }
        assert facts == {
            "parameters": f"{model.parameters:,}",
            "bytes": f"{path.stat().st_size:,}",
            "accuracy": f"{model.accuracy or 0:.2%}".replace("%", " %"),
        }
    assert page.find_element(By.CLASS_NAME, "verdict").text == "2 of 2 say 7"
    clear(page)
    assert guesses(page) == ["–", "–"]


def test_the_image_that_the_nets_see_is_shown(page: webdriver.Chrome, tmp_path: Path) -> None:
    image = drawing(SEVEN, 400, pen=20)
    page.find_element(By.ID, "file").send_keys(str(picture(image, tmp_path / "seven.png")))
    WebDriverWait(page, 20).until(lambda _: guesses(page) == ["7", "7"])
    (canvas,) = page.find_elements(By.CSS_SELECTOR, "#seen canvas")
    found = page.execute_script(
        "const canvas = document.querySelector('#seen canvas');"
        "const box = [0, 0, canvas.width, canvas.height];"
        "return [...canvas.getContext('2d').getImageData(...box).data];"
    )
    pixels = np.array(found, np.uint8).reshape(28, 28, 4)
    np.testing.assert_array_equal(pixels[..., :1], prepare(image, (28, 28, 1)))
    assert (pixels[..., 3] == 255).all()
    assert canvas.accessible_name == "What the nets see: 28 × 28"
    clear(page)
    assert page.find_elements(By.CSS_SELECTOR, "#seen canvas") == []


def test_nets_for_photos_have_a_tab_of_their_own(page: webdriver.Chrome, tmp_path: Path) -> None:
    tabs = page.find_elements(By.CSS_SELECTOR, "[role=tab]")
    assert [tab.text for tab in tabs] == ["Draw a digit", "Show a photo"]
    assert "CIFAR" not in page.find_element(By.ID, "guesses").text
    tabs[1].click()
    assert [tab.get_attribute("aria-selected") for tab in tabs] == ["false", "true"]
    assert page.find_element(By.TAG_NAME, "h3").text == "Nets for CIFAR-10's photos"
    draw(page, SEVEN)
    assert guesses(page) == ["–"]  # nobody asked them about a drawing
    photo = Image.effect_noise((300, 200), 90)
    page.find_element(By.ID, "file").send_keys(str(picture(photo, tmp_path / "photo.jpg")))
    WebDriverWait(page, 20).until(lambda _: guesses(page)[0] in CLASS_NAMES)
    names = [each.text for each in page.find_elements(By.CSS_SELECTOR, ".bar > span")]
    assert names == list(CLASS_NAMES)
    assert page.find_element(By.CSS_SELECTOR, "#seen canvas").accessible_name.endswith("32 × 32")
    tabs[1].send_keys(Keys.ARROW_LEFT)
    assert page.switch_to.active_element == tabs[0]
    draw(page, SEVEN)
    assert guesses(page) == ["7", "7"]


def test_a_late_answer_does_not_show_up_in_the_other_tab(page: webdriver.Chrome) -> None:
    draw(page, SEVEN)
    page.execute_script("document.getElementById('photos').click()")
    assert guesses(page) == ["–"]
    assert page.find_element(By.ID, "message").text == ""


@pytest.mark.parametrize(("width", "height"), [(390, 844), (360, 640), (844, 390)])
def test_on_a_phone_the_drawing_stays_in_view(
    page: webdriver.Chrome, width: int, height: int
) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        draw(page, SEVEN)
        assert guesses(page) == ["7", "7"]
        last = page.find_elements(By.CSS_SELECTOR, "li")[-1]
        page.execute_script("arguments[0].scrollIntoView({block: 'end'})", last)
        seen = "const box = arguments[0].getBoundingClientRect(); return [box.top, box.bottom]"
        for element in ("#paper", "#seen canvas", "#clear"):
            top, bottom = page.execute_script(seen, page.find_element(By.CSS_SELECTOR, element))
            assert 0 <= top < bottom <= height, element
        top, bottom = page.execute_script(seen, last)
        assert bottom <= height + 1
        shown = page.execute_script(seen, page.find_element(By.ID, "shown"))
        assert width > height or shown[1] < height * 0.6  # the guesses have room below it
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_models_guess_while_one_draws(page: webdriver.Chrome) -> None:
    page.execute_script(
        "window.seen = [];"
        "new MutationObserver(() => seen.push(document.querySelector('.class').textContent))"
        ".observe(document.querySelector('.class'), {childList: true, characterData: true});"
    )
    pointer = PointerInput("mouse", "mouse")
    actions = ActionBuilder(page, mouse=pointer, duration=20)
    box = page.find_element(By.ID, "paper").rect
    actions.pointer_action.move_to_location(int(box["x"]) + 90, int(box["y"]) + 90)
    actions.pointer_action.pointer_down()
    for step in range(20):
        actions.pointer_action.move_to_location(
            int(box["x"]) + 90 + 6 * step, int(box["y"]) + 90 + 9 * (step % 3)
        )
    actions.perform()
    WebDriverWait(page, 20).until(lambda b: b.execute_script("return seen.length") >= 2)
    actions = ActionBuilder(page, mouse=pointer)
    actions.pointer_action.pointer_up()
    actions.perform()


def test_a_finger_draws(page: webdriver.Chrome) -> None:
    draw(page, SEVEN, kind="touch")
    assert guesses(page) == ["7", "7"]


def test_keys_draw_and_the_guess_is_told(page: webdriver.Chrome) -> None:
    paper = page.find_element(By.ID, "paper")
    paper.send_keys(Keys.ARROW_UP * 8, Keys.SPACE, Keys.ARROW_DOWN * 16, Keys.SPACE)
    assert guesses(page)[0] == "1"
    spoken = page.find_element(By.ID, "spoken")
    assert spoken.get_attribute("role") == "status"
    WebDriverWait(page, 20).until(
        lambda _: "tight_resnet int8.tflite: 1, " in str(spoken.get_attribute("textContent"))
    )
    paper.send_keys(Keys.ESCAPE)
    assert guesses(page) == ["–", "–"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif"])
def test_an_image_file_is_taken(page: webdriver.Chrome, suffix: str, tmp_path: Path) -> None:
    path = picture(drawing(SEVEN, 400, pen=20), tmp_path / f"seven.{suffix}")
    page.find_element(By.ID, "file").send_keys(str(path))
    WebDriverWait(page, 20).until(lambda _: guesses(page) == ["7", "7"])


def test_an_image_is_dropped(page: webdriver.Chrome, tmp_path: Path) -> None:
    path = picture(drawing(SEVEN, 400, pen=20), tmp_path / "seven.png")
    for kind in ("dragEnter", "dragOver", "drop"):
        page.execute_cdp_cmd(
            "Input.dispatchDragEvent",
            {
                "type": kind, "x": 150, "y": 300,
                "data": {"items": [], "files": [str(path)], "dragOperationsMask": 1},
            },
        )  # fmt: skip
    WebDriverWait(page, 20).until(lambda _: guesses(page) == ["7", "7"])


def test_what_is_no_image_is_told(page: webdriver.Chrome, tmp_path: Path) -> None:
    message = page.find_element(By.ID, "message")
    for name, words in (("broken.png", "is no image that can be read"), ("text.txt", "text.txt")):
        (tmp_path / name).write_text("no image")
        page.find_element(By.ID, "file").send_keys(str(tmp_path / name))
        WebDriverWait(page, 20).until(lambda _, words=words: words in message.text)
    draw(page, SEVEN)
    assert guesses(page) == ["7", "7"]


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
    ground, text = page.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [style.backgroundColor, style.color].map((each) => Number(each.match(/\\d+/)[0]));"
    )
    assert (ground > text) == (scheme == "light")
    assert abs(ground - text) > 150
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_that_takes_input_has_a_name(page: webdriver.Chrome) -> None:
    nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node.get("name", {}).get("value")
    }
    assert ("button", "Clear") in named
    assert ("button", "Image…") in named
    assert ("application", "Paper to draw a digit on") in named
    assert {("heading", "Drawing"), ("heading", "Guesses")} <= named
    assert ("heading", "Nets for MNIST's handwritten digits") in named
    order = []
    for _ in range(3):
        page.switch_to.active_element.send_keys(Keys.TAB)
        order.append(page.switch_to.active_element.get_attribute("id"))
    assert order == ["drawings", "paper", "clear"]
    assert {("tab", "Draw a digit"), ("tab", "Show a photo")} <= named


def test_nothing_leaves_the_page_and_nothing_is_complained_of(
    page: webdriver.Chrome, url: str
) -> None:
    """In this test, and in all that were before it in the same browser."""
    draw(page, SEVEN)
    assert guesses(page) == ["7", "7"]
    asked = requests(page)
    assert f"{url}classify?of=drawings" in asked
    assert [each for each in asked if not each.startswith((url, "data:,"))] == []
    complaints = [entry["message"] for entry in page.get_log("browser")]
    # What is no image is refused with a status, which Chromium writes down.
    assert [each for each in complaints if " 400 (Bad Request)" not in each] == []
