"""Random hands on the Studio: when they rest, the page shows what the server made last, of what its controls say.

    python -m benchmarks.hands                    # a fast line and an idle browser; on a line of 100 kB/s; throttled
    python -m benchmarks.hands --plain            # the same with Gradio's own stream, without static/stream.js
    python -m benchmarks.hands --bursts 100 --seed 7 --only line

Each burst is one to five of a visitor's actions, with hardly a pause: example sets, drops, sliders, keys, seeds, other
priors and tabs, the browser's Back. Then the page is left alone, and asked what it shows. It is served by this process
with two small random priors, so that what is told comes thick and fast. Needs Debian's chromium.
"""

import argparse
import contextlib
import math
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from demo import Engines, build, launch
from demo import page as served_page
from demo.examples import example_sets
from demo.render import data_uri, sheet_picture
from demo.server.admission import PAGE
from demo.server.state import Session
from demo.static import static
from demo.tabs.studio import OPENING, address_of
from demo.tabs.studio_results import View
from tests.helpers import make_tiny_prior

from .page import ARGUMENTS

# Names of the conditions, and Chromium's own settings for them.
LINE = {"offline": False, "latency": 150, "downloadThroughput": 100_000, "uploadThroughput": 40_000}
CONDITIONS: dict[str, dict[str, dict]] = {
    "fast": {},
    "line": {"Network.emulateNetworkConditions": LINE},
    "browser": {"Emulation.setCPUThrottlingRate": {"rate": 4}},
}
FIRST, OTHER = "tiny.safetensors", "other.safetensors"
PAUSES = (0, 0, 20, 100, 300, 800)  # milliseconds
_READ = """() => {
  const value = at => document.querySelector(at)?.value;
  return {
    prior: value('#prior input'), n: Number(value('#number input')), seed: Number(value('#seed input')),
    temperature: Number(value('#temperature-range')), lam: Number(value('#lam-range')),
    auto: document.querySelector('#method-auto input').checked,
    status: document.querySelector('#samples-status').innerText.trim(),
    cards: document.querySelectorAll('#evidence-cards .card').length,
    sheet: document.querySelector('#sheet img').src, address: location.search,
    covered: !document.querySelector('#sheet canvas').hidden,
  };
}"""

SHOWN = sorted(key for key, one in example_sets().items() if one.shown)


class Hands:
    """A visitor who does anything.

    Args:
        page: of Playwright, at the Studio that this process serves, with its first samples there.
        session: the visitor's.
        rng: decides what is done.

    Attributes:
        session: see above.
    """

    def __init__(self, page: Any, session: Session, rng: random.Random) -> None:
        self._page, self.session, self._rng = page, session, rng
        self._acts: dict[str, Callable[[], None]] = {
            "example": lambda: page.click(f"#evidence [data-example={rng.choice(SHOWN)}]"),
            "drop": lambda: page.set_input_files("#evidence-files input[type=file]", self._files()),
            "lam": lambda: self._drag("#lam-range"),
            "closeness": lambda: self._drag("#closeness-range"),
            "temperature": lambda: self._drag("#temperature-range"),
            "key": self._keys,
            "clear": lambda: page.click("#evidence-clear"),
            "undo": lambda: self._any("#history .undo"),
            "remove": lambda: self._any("#evidence-cards .remove"),
            "thumbnail": lambda: self._any("#evidence-cards .open"),
            "method": lambda: self._any("#method-kind label"),
            "auto": lambda: page.click("#method-auto input"),
            "dice": lambda: page.click("#dice"),
            "reset": lambda: page.click("#reset"),
            "number": lambda: self._type("#number input", rng.choice(("1", "4", "16", "20"))),
            "prior": self._prior,
            "inner tab": lambda: self._any("#results [role=tab]"),
            "outer tab": self._away,
            "back": lambda: page.evaluate("history.state?.depth && history.back()"),  # and not out of the page
            "state": lambda: self._any("#history .states button"),
            "sample": self._enlarge,
        }

    def burst(self) -> list[str]:
        """One to five actions; gives their names."""
        done = self._rng.choices(list(self._acts), k=self._rng.randint(1, 5))
        for name in done:
            self._acts[name]()
            self._page.wait_for_timeout(self._rng.choice(PAUSES))
        return done

    def rest(self, seconds: float = 40, most: float = 120) -> list[str]:
        """Wait until the page tells the same as the server, which has nothing to do; gives what is wrong with it when
        it has not for `seconds`, or is not at rest after `most`."""
        start = quiet = time.monotonic()
        while True:
            self._page.wait_for_timeout(100)
            now, busy = time.monotonic(), any(PAGE.busy((self.session.id, at)) for at in ("samples", "evidence"))
            if busy and now - start < most:
                quiet = now
                continue
            wrong = ["the server never rests"] if busy else self._wrong()
            if busy or now - quiet > seconds or not wrong:
                return wrong

    def _wrong(self) -> list[str]:
        state, shelf = self.session.state(View), self.session.evidence["evidence"]
        request, result, shown = state.request, state.result, self._page.evaluate(_READ)
        if request is None or result is None or result.request != request:
            return [f"no samples of the last request; the page shows {shown['status']!r}"]
        recipe, ratio = request.recipe, request.recipe.lam_ratio
        evidence = request.evidence if request.evidence.ready else None
        expected = {
            "prior": recipe.prior,
            "n": recipe.n,
            "seed": recipe.seed,
            "temperature": recipe.temperature,
            "auto": request.auto,
            "cards": len(shelf),
            "sheet": data_uri(sheet_picture(result.pictures)),
            "covered": False,
            "address": "?" + address_of(request, FIRST, state.chosen),
        }
        wrong = [
            f"{key} is {shown[key]!r:.60}, not {value!r:.60}" for key, value in expected.items() if shown[key] != value
        ]
        if ratio and not isinstance(ratio, tuple) and abs(shown["lam"] - math.log10(ratio)) > 0.011:
            wrong.append(f"λ/m stands at {10 ** shown['lam']:.3g}, not {ratio:.3g}")
        if evidence is not (shelf if shelf.ready else None):
            wrong.append("the samples are of other evidence")
        if not re.search("samples? in", shown["status"]):
            wrong.append(f"the status is {shown['status']!r}")
        return wrong

    def _files(self) -> list[Path]:
        files = example_sets()[self._rng.choice(SHOWN)].files
        return self._rng.sample(list(files), 2)

    def _any(self, selector: str) -> None:
        """Click on one of them, if there is any to be seen."""
        found = [one for one in self._page.locator(selector).all() if one.is_visible() and one.is_enabled()]
        if found:
            self._rng.choice(found).evaluate("one => one.click()")

    def _drag(self, selector: str) -> None:
        self._page.locator(selector).scroll_into_view_if_needed()
        box = self._page.locator(selector).bounding_box()
        start, end = self._rng.random(), self._rng.random()
        for step in range(4):
            x = box["x"] + (start + (end - start) * step / 3) * box["width"]
            self._page.mouse.move(x, box["y"] + box["height"] / 2)
            if step == 0:
                self._page.mouse.down()
            self._page.wait_for_timeout(self._rng.choice((0, 5, 60, 200)))
        self._page.mouse.up()

    def _keys(self) -> None:
        self._page.focus(self._rng.choice(("#lam-range", "#closeness-range")))
        for _ in range(self._rng.randint(1, 3)):
            self._page.keyboard.press(self._rng.choice(("ArrowLeft", "ArrowRight", "Home", "End")))

    def _type(self, selector: str, words: str) -> None:
        self._page.fill(selector, words)
        self._page.press(selector, "Enter")

    def _prior(self) -> None:
        self._page.click("#prior input")
        self._page.get_by_role("option", name=self._rng.choice((FIRST, OTHER))).click()

    def _away(self) -> None:
        for name in (self._rng.choice(("Restyle", "Behind it")), "Studio"):
            self._page.get_by_role("tab", name=name, exact=True).click()
            self._page.wait_for_timeout(self._rng.choice((0, 100, 400)))

    def _enlarge(self) -> None:
        self._any("#sheet .cells button")
        self._page.wait_for_timeout(self._rng.choice((0, 50, 300)))
        self._page.keyboard.press("Escape")


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of the page, with two small priors of random weights, while it is served."""
    with tempfile.TemporaryDirectory() as folder:
        make_tiny_prior().save(Path(folder) / FIRST)
        make_tiny_prior(seed=1, side=32).save(Path(folder) / OTHER)
        demo = build(Engines(Path(folder)), first_prior=FIRST)
        _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        yield url
        demo.close()


def begin(page: Any, url: str, rng: random.Random, condition: str = "fast") -> Hands:
    """Open the page under one of the conditions."""
    before = set(Session._all)
    page.goto(f"{url}?lab=1")
    page.wait_for_function("document.querySelector('#samples-status')?.innerText.includes('samples in')")
    page.wait_for_url(f"**?example={OPENING}")
    (session,) = (one for key, one in Session._all.items() if key not in before and one.state(View).request)
    chromium = page.context.new_cdp_session(page)
    chromium.send("Network.enable")
    for setting, values in CONDITIONS[condition].items():
        chromium.send(setting, values)
    return Hands(page, session, rng)


def main() -> None:
    """Let hands play under each condition, and count how often the page was wrong at rest."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hands", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bursts", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CONDITIONS, help="one of the conditions")
    parser.add_argument("--plain", action="store_true", help="with Gradio's own stream")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    if options.plain:
        served_page.static = lambda name: "" if name == "stream.js" else static(name)
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        for condition in [options.only] if options.only else CONDITIONS:
            page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
            page.set_default_timeout(120_000)
            hands, bad = begin(page, url, random.Random(options.seed), condition), 0
            for burst in range(options.bursts):
                done = hands.burst()
                if wrong := hands.rest():
                    bad += 1
                    print(f"{condition}, {burst}: {', '.join(done)}: {'; '.join(wrong)}", flush=True)
            print(f"{condition}: the page was wrong after {bad} of {options.bursts} bursts", flush=True)
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
