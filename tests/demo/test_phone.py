"""From the open page on a phone to a picture of one's own, saved or sent, with a finger. Its taps are counted."""

import io
import re

import numpy as np
from PIL import Image

from demo.examples import PHOTOGRAPH
from transflow_core.images.output import read_png_metadata

from ..helpers import frames
from .conftest import EXAMPLES, saved, says
from .test_studio import wait_samples, wait_status

# The point where a finger hits an element without scrolling; null where something else covers it.
POINT_JS = """
one => {
  const {left, top, width, height} = one.getBoundingClientRect(), x = left + width / 2, y = top + height / 2;
  const hit = document.elementFromPoint(x, y);
  return hit && (one === hit || one.contains(hit)) && Math.min(width, height) >= 24 ? [x, y] : null;
}
"""
# A phone that can share files: the page keeps what it would send.
SHARES_JS = """
navigator.canShare = () => true;
navigator.share = async ({files: [file]}) => {
  window.sent = [file.name, [...new Uint8Array(await file.arrayBuffer())]];
};
"""
OWN = "Your photos are not in a link. Share the picture, or the set as a file. The file contains your photos."


def shows_its_images(picture):
    """Whether a card has images beside its title, after it was found to be a card that says nothing of their files."""
    with Image.open(picture) as image:
        assert image.size == (1080, 1080) and image.format == "PNG"
        assert image.info.keys() == {"DigitalSourceType", "xmp", "XML:com.adobe.xmp"}  # a model made it
        return np.asarray(image)[985:1065, 770:1010].min() < 250


class Finger:
    """Taps visible elements, and counts the taps. To scroll to one, where it does, is no tap."""

    def __init__(self, page, scrolls: bool = False) -> None:
        self.page, self.taps, self._scrolls = page, 0, scrolls

    def tap(self, selector: str) -> None:
        one = self.page.locator(selector)
        one.wait_for()
        if self._scrolls:
            one.evaluate("one => one.scrollIntoView({block: 'center'})")
        frames(self.page, 30)  # a drawer or a window may still move
        point = one.evaluate(POINT_JS)
        assert point, f"{selector} is not where a finger can tap it"
        self.page.touchscreen.tap(*point)
        self.taps += 1


def test_three_taps_from_the_open_page_to_a_picture_of_ones_own(new_page, served_small, tmp_path):
    page = new_page(width=390, height=844, touch=True)
    page.goto(served_small)
    wait_samples(page)  # it opens with an example set
    bar = page.locator("#dice").bounding_box()["y"]
    for at in ("#sheet .large", "#sheet .cells button >> nth=0", "#closeness-range", "#evidence [data-example=sepia]"):
        box = page.locator(at).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= bar, at
    page.locator("#sheet .cells button").last.click()  # the row scrolls
    page.wait_for_selector("#sheet .large img[alt^='Face 16 of 16: ']")
    # While photographs are read, how far that is stands above the bar, although the drawer is closed.
    page.evaluate("document.querySelector('#evidence-status').append(document.createElement('progress'))")
    page.wait_for_selector("#evidence-status progress", state="visible")
    page.evaluate("document.querySelector('#evidence-status progress').remove()")
    page.wait_for_selector("#evidence-status", state="hidden")
    finger = Finger(page)
    with page.expect_file_chooser() as chooser:  # now the phone shows its gallery, or its camera
        finger.tap("#drawer .add")
    assert chooser.value.is_multiple()
    chooser.value.set_files(PHOTOGRAPH)
    wait_status(page, "m = 1 ")
    page.get_by_text("2 other faces are not used").wait_for()  # while the drawer is closed
    page.wait_for_url(re.compile("example=own"))
    page.wait_for_selector("#sheet [data-do=save]:enabled", state="attached")
    finger.tap("#sheet summary >> nth=0")
    path = saved(page, "#sheet [data-do=save]", tmp_path, finger.tap)
    assert PHOTOGRAPH.stem in read_png_metadata(path)["evidence"]
    with Image.open(path) as image:
        assert image.size == (16, 16)
    assert finger.taps == 3
    # No dead end: the menu closes, the next face and the slider are still there, and the example comes back.
    first = int(page.get_attribute("#sheet .large img", "alt").split()[1])
    finger.tap("#sheet .large")
    page.wait_for_selector(f"#sheet .large img[alt^='Face {first % 16 + 1} of 16']")
    other = (first + 1) % 16
    finger.tap(f"#sheet .cells button >> nth={other}")
    page.wait_for_selector(f"#sheet .large img[alt^='Face {other + 1} of 16']")
    finger.tap("#closeness-range")
    wait_status(page, "m = 1 ")
    page.locator("#history").evaluate("row => row.scrollIntoView({block: 'center'})")
    finger.tap("#history .states button >> nth=0")
    wait_samples(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_a_small_phone_menus_the_status_and_privacy_are_in_sight(new_page, served_small):
    page = new_page(width=360, height=640, touch=True)
    page.goto(served_small)
    wait_samples(page)
    status = page.locator("#faces-status").bounding_box()
    assert status["y"] + 20 <= page.locator("#dice").bounding_box()["y"]
    assert page.get_by_role("tab", name="Restyle").bounding_box()["height"] >= 36
    finger = Finger(page)
    for menu in range(2):
        finger.tap(f"#sheet summary >> nth={menu}")
        entries = page.locator("#sheet details[open] button:visible").all()
        assert len(entries) >= 3 and all(one.evaluate(POINT_JS) for one in entries)
        page.locator("#sheet summary").nth(menu).click()
    finger.tap(".header .burger")
    finger.tap(".header nav button >> nth=0")
    assert all(one.evaluate(POINT_JS) for one in page.locator("#privacy p").all())


def test_three_taps_send_new_people_like_five_friends_to_one(new_page, served_small):
    page = new_page(width=390, height=844, touch=True)
    page.add_init_script(SHARES_JS)
    page.goto(served_small)
    wait_samples(page)
    finger = Finger(page)
    with page.expect_file_chooser() as chooser:
        finger.tap("#drawer .add")
    chooser.value.set_files(EXAMPLES["sepia"][:5])
    wait_status(page, "m = 5 ")
    finger.tap("#drawer .to-share")
    says(page, ".card-window p", OWN)
    finger.tap(".card-window [data-do=picture]")
    page.wait_for_function("window.sent")
    name, data = page.evaluate("window.sent")
    assert name == "new_faces.png" and not shows_its_images(io.BytesIO(bytes(data)))
    assert finger.taps == 3
