"""The pictures of the README: what comes out, and a screenshot of each tab.

python -m benchmarks.pictures
"""

import shutil
from pathlib import Path

from PIL import Image

from demo.examples import example_sets
from transflow_core.engine import Engine
from transflow_core.images import labelled_rows, to_pil
from transflow_core.images.sheets import enlarge
from transflow_core.posterior import recommend
from transflow_core.priors.catalogue import load_prior

from .page import ARGUMENTS, ROOT, serve

OUT = ROOT / "docs" / "images"
SHOWN = ("paintings", "drawings", "red_hair", "sketch")


def overview(path: Path) -> None:
    """A row for each example set: three pieces of evidence, then samples as the page draws them by itself."""
    engine = Engine(load_prior())
    rows, titles = [], []
    for key in SHOWN:
        example = example_sets()[key]
        evidence = engine.read(example.files)
        posterior = evidence.posterior(lam_ratio=1.0)
        samples = to_pil(
            engine.sample(
                engine.draw(posterior, recommend(posterior, engine.looks(posterior)).method), 7, seed=2
            ).images
        )
        arrow = Image.new("RGB", samples[0].size, "white")
        rows.append([*(image.face.image for image in evidence.images[:3] if image.face), arrow, *samples])
        titles.append(example.title)
    columns = ["evidence", "", "", "", "samples"] + [""] * 6
    labelled_rows(rows, row_labels=titles, column_labels=columns, cell=128).save(path, quality=88)


def screenshots(url: str) -> None:
    """Each tab with something in it, once all of it is there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 940})
        page.set_default_timeout(120_000)
        page.goto(url)
        page.wait_for_selector("#sheet .compare:enabled")  # the strip is the last to come
        _shot(page, "studio")
        phone = browser.new_page(
            viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True
        )
        phone.set_default_timeout(120_000)
        phone.goto(f"{url}/?example=sketch")
        phone.wait_for_selector("#sheet .compare:enabled", state="attached")
        _shot(phone, "phone")
        page.get_by_role("tab", name="Restyle").click()
        _says(page, "#restyle-status", "by computer")
        _shot(page, "restyle")
        page.get_by_role("tab", name="Interpolate").click()
        _says(page, "#interpolate-status", "images in")
        page.wait_for_selector("#player .play[aria-label=Pause]")  # it plays until the slider moves
        page.locator("#scrubber").evaluate(
            "range => { range.value = range.max / 2; range.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        _shot(page, "interpolate")
        page.get_by_role("tab", name="Behind it").click()
        page.get_by_role("tab", name="Tell apart").click()
        page.click("#classify-examples [data-example=digits]")
        _says(page, "#classify-numbers", "learned from")
        page.wait_for_selector("#classify-progress", state="hidden")
        _shot(page, "classify")
        page.get_by_role("tab", name="How it works").click()
        page.wait_for_selector("#how-lam")
        _shot(page, "how_it_works")
        browser.close()


def _says(page, selector: str, words: str) -> None:
    page.wait_for_function(
        "([at, words]) => document.querySelector(at)?.innerText.includes(words)", arg=[selector, words], timeout=600_000
    )


# Every picture is decoded, and what was dimmed has faded in.
_STILL_JS = """
async () => {
  document.activeElement?.blur();
  scrollTo(0, 0);
  await Promise.all([...document.images].filter(one => one.offsetParent).map(one => one.decode().catch(() => {})));
  for (let frame = 0; frame < 60; frame++) await new Promise(requestAnimationFrame);
}
"""


def _shot(page, name: str) -> None:
    page.mouse.move(2, 2)  # nothing is hovered
    page.evaluate(_STILL_JS)
    png = OUT / f"{name}.png"
    page.screenshot(path=png)
    with Image.open(png) as image:
        enlarge(image.convert("RGB"), 1280 if image.width > image.height else 1080).save(
            OUT / f"{name}.jpg", quality=85
        )
    png.unlink()


def main() -> None:
    """Write them all into docs/images."""
    OUT.mkdir(parents=True, exist_ok=True)
    overview(OUT / "overview.jpg")
    process, url, _ = serve()
    try:
        screenshots(url)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
