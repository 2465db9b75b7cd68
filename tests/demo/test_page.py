"""The page in Chromium, with a mouse, a finger, keys, and files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from strokes import Stroke, strokes

from edgegolf.data import Split, load_dataset
from edgegolf.errors import EdgegolfError

selenium = pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.actions.action_builder import ActionBuilder  # noqa: E402
from selenium.webdriver.common.actions.pointer_input import PointerInput  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DIGITS = 100

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--disable-gpu-vsync", "--disable-frame-rate-limit",  # a pointer moves once a frame
        "--window-size=1000,1000",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
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
    pointer = PointerInput(kind, "pen")
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


def test_replayed_test_digits_are_recognised(page: webdriver.Chrome, digits: Split) -> None:
    found = []
    for image in digits.images[:DIGITS, :, :, 0]:
        clear(page)
        draw(page, strokes(image))
        found.append(guesses(page)[0])
    right = np.array(found) == digits.labels[:DIGITS].astype(str)
    assert right.mean() >= 0.95, [
        (int(label), guess)
        for label, guess, fine in zip(digits.labels, found, right, strict=False)
        if not fine
    ]
