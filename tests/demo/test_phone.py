"""From opening the page on a phone to a saved picture of one's own, by a finger; its taps are counted."""

import re

import pytest
from PIL import Image

from demo.examples import PHOTOGRAPH
from transflow_core.images import read_png_metadata

from ..helpers import ROOT, frames
from .test_studio import wait_status

# Where a finger can hit an element without scrolling first; null where something else lies over it, or nothing is seen.
PLACE_JS = """
one => {
  const {left, top, width, height} = one.getBoundingClientRect(), x = left + width / 2, y = top + height / 2;
  const hit = document.elementFromPoint(x, y);
  return hit && (one === hit || one.contains(hit)) && Math.min(width, height) >= 24 ? [x, y] : null;
}
"""


class Finger:
    """Taps what is in sight, and counts."""

    def __init__(self, page) -> None:
        self.page, self.taps = page, 0

    def tap(self, selector: str) -> None:
        one = self.page.locator(selector)
        one.wait_for()
        frames(self.page, 30)  # a drawer or a window that is still coming
        place = one.evaluate(PLACE_JS)
        assert place, f"{selector} is not where a finger can tap it"
        self.page.touchscreen.tap(*place)
        self.taps += 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_three_taps_from_the_open_page_to_a_picture_of_ones_own(new_page, served_small, tmp_path, shot, dark):
    page = new_page(width=390, height=844, dark=dark, touch=True)
    page.goto(served_small)
    wait_status(page, "m = 18 ")  # it opens on an example: there is something to see before anything is given
    finger = Finger(page)
    with page.expect_file_chooser() as chooser:  # from here on it is the phone's own: its gallery, or its camera
        finger.tap("#drawer .add")
    assert chooser.value.is_multiple()
    chooser.value.set_files(PHOTOGRAPH)
    wait_status(page, "m = 1 ")
    page.wait_for_url(re.compile("example=none"))
    shot(page, f"phone_own_{'dark' if dark else 'light'}")
    finger.tap("#sheet .cells button >> nth=0")
    page.wait_for_selector("#sheet .viewer a[href]")
    shot(page, f"phone_viewer_{'dark' if dark else 'light'}")
    with page.expect_download() as download:
        finger.tap("#sheet .viewer a")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert PHOTOGRAPH.stem in read_png_metadata(path)["evidence"]
    with Image.open(path) as image:
        assert image.size == (16, 16)
    assert finger.taps == 3
    assert "three taps" in (ROOT / "README.md").read_text(encoding="utf-8")
    # No dead end: it closes, the slider is still there, and the example comes back.
    finger.tap("#sheet .viewer .close")
    finger.tap("#lam-range")
    wait_status(page, "m = 1 ")
    finger.tap("#drawer .handle")
    finger.tap("#evidence-undo")
    wait_status(page, "m = 18 ")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
