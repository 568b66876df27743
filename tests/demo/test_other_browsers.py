"""A short walk in other browsers: Firefox, and WebKit, the engine of Safari and of each browser on an iPhone.

All other tests run in Chromium. Playwright does not drive the Firefox and the WebKit that Debian ships, so that each is
driven by its own protocol: Marionette, and WebDriver.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver import WebKitGTK
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service

from demo.render import GAP

from ..helpers import TIMEOUT
from .conftest import EXAMPLES

FIREFOX, WEBKIT, XVFB = (shutil.which(name) for name in ("firefox-esr", "WebKitWebDriver", "Xvfb"))
ENTER, LEFT = "\ue007", "\ue012"  # as the protocols write keys


def _firefox() -> Iterator:
    marionette = pytest.importorskip("marionette_driver.marionette")
    driver = marionette.Marionette(bin=FIREFOX, headless=True, gecko_log=os.devnull, startup_timeout=TIMEOUT)
    driver.start_session()
    driver.set_window_rect(width=1280, height=1000)
    # Selenium's name and scope: else what a script leaves in the window is gone for the next.
    driver.get, driver.execute_script = driver.navigate, partial(driver.execute_script, sandbox=None)
    yield driver
    driver.quit()


def _webkit() -> Iterator:
    # It needs a screen, and has no sandbox for root.
    screen = subprocess.Popen([str(XVFB), "-displayfd", "1", "-screen", "0", "1300x1100x24"], stdout=subprocess.PIPE)
    assert screen.stdout
    display = ":" + screen.stdout.readline().decode().strip()
    options = Options()
    options.add_argument("--automation")
    env = os.environ | {"DISPLAY": display, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}
    driver = WebKitGTK(options=options, service=Service(str(WEBKIT), env=env))
    driver.set_window_size(1280, 1000)
    yield driver
    driver.quit()
    screen.kill()


class Page:
    """A page, by the calls that both drivers know.

    Args:
        driver: of the browser.
    """

    def __init__(self, driver) -> None:
        self._driver, self.find = driver, partial(driver.find_element, "css selector")

    def open(self, url: str) -> None:
        """Load a page, and keep the errors of its scripts from then on."""
        self._driver.get(url)
        self.run("window.errors = []; window.addEventListener('error', event => window.errors.push(event.message));")

    def run(self, script: str):
        """The value that a script returns."""
        return self._driver.execute_script(script)

    def wait(self, condition: str) -> None:
        """Wait until an expression is true. A page that loads answers with an error."""
        end, seen = time.monotonic() + TIMEOUT, None
        while time.monotonic() < end:
            try:
                if seen := self.run(f"return {condition}"):
                    return
            except Exception as error:
                seen = error
            time.sleep(0.1)
        pytest.fail(f"{condition}: {seen}")

    def says(self, selector: str, words: str) -> None:
        """Wait until an element has these words."""
        self.wait(f"document.querySelector({selector!r}).innerText.includes({words!r})")


@pytest.fixture(
    params=[
        pytest.param(_firefox, marks=pytest.mark.skipif(not FIREFOX, reason="no Firefox"), id="firefox"),
        pytest.param(_webkit, marks=pytest.mark.skipif(not (WEBKIT and XVFB), reason="no WebKit"), id="webkit"),
    ]
)
def browser(request) -> Iterator[Page]:
    """One of them."""
    for driver in request.param():
        yield Page(driver)


def test_a_walk_through_the_page(browser, served_small):
    page = browser
    page.open(f"{served_small}/?example=none&lab=1")
    page.says("#samples-status", "16 samples in")
    # A smaller sheet is cut by its own size: in Firefox its image has the size of the last one for a while.
    number = page.find("#number input")
    number.clear()
    number.send_keys("4" + ENTER)
    page.says("#samples-status", "4 samples in")
    page.wait("document.querySelectorAll('#sheet .cells button').length === 4")
    cell = 128
    size, place = 100 * (2 * cell + 3 * GAP) / cell, 100 * (cell + 2 * GAP) / (cell + 3 * GAP)
    style = "document.querySelector('#sheet .cells button:last-child').style"
    page.wait(f"Math.abs(parseFloat({style}.backgroundSize) - {size}) < 0.01")
    page.wait(f"Math.abs(parseFloat({style}.backgroundPosition) - {place}) < 0.01")
    # Own pictures, and the slider by a key.
    page.run("document.querySelector('#evidence-files input').style.display = 'block'")  # a driver types where it sees
    page.find("#evidence-files input").send_keys("\n".join(EXAMPLES["sepia"][:2]))
    page.says("#samples-status", "m = 2 ")
    page.find("#evidence-cards .open").click()
    page.says("#evidence-details", Path(EXAMPLES["sepia"][0]).name)
    before = page.run("return location.search")
    page.find("#closeness-range").send_keys(LEFT)
    page.wait(f"location.search !== {before!r}")
    page.says("#samples-status", "m = 2 ")
    page.find("#history .undo").click()
    page.wait(f"location.search === {before!r}")
    # A card to share; then the other tabs.
    page.find("#history .share").click()
    page.wait("document.querySelector('dialog[open] img').naturalWidth === 1080")
    page.find("dialog[open] [data-do=close]").click()
    for tab, there in (
        ("Restyle", "#restyle-slider img"),
        ("Interpolate", "#player .play:enabled"),
        ("Behind it", "svg.plane"),
    ):
        page.run(f"[...document.querySelectorAll('[role=tab]')].find(tab => tab.innerText.trim() === {tab!r}).click()")
        page.wait(f"document.querySelector({there!r}).getBoundingClientRect().width > 30")
    assert page.run("return window.errors") == []
