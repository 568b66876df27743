"""More like one sample, and the set's own sliders, in a browser: on, in a link and in files, and off again."""

import re

from PIL import Image

from transflow_core.images.output import read_png_metadata

from .conftest import EXAMPLES, opened, unfold
from .test_sheet import picture_of
from .test_studio import another_sheet, from_menu, same_sheet, sheet, upload

AT_JS = "at => [...document.querySelectorAll('#along input')].map(range => +range.value).join() === at"


def enlarged(page, number):
    """Show a sample large."""
    page.locator("#sheet .cells button").nth(number - 1).click()
    page.wait_for_selector(f"#sheet .large img[alt^='Face {number} of 16: ']")


def test_more_like_one_sample_and_back(page, new_page, served_small, tmp_path):
    opened(page, f"{served_small}/?example=red_hair", panel=False)
    all_faces = sheet(page)
    assert not page.is_visible("#near button")
    enlarged(page, 5)
    chosen = Image.open(from_menu(page, "#sheet [data-do=save]", tmp_path))
    page.click("#sheet [data-do=more]")
    page.wait_for_url(re.compile("near=4&"))
    around = sheet(page)
    assert around != all_faces and page.inner_text("#near button") == "More like face 5 ×"
    enlarged(page, 5)  # the chosen one keeps its place
    again = from_menu(page, "#sheet [data-do=save]", tmp_path)
    assert Image.open(again).tobytes() == chosen.tobytes() and read_png_metadata(again)["near"] == "4"
    enlarged(page, 6)
    page.click("#sheet [data-do=more]")
    page.wait_for_url(re.compile("near=4,5&"))
    other = new_page()  # another visitor, under this one's address
    other.goto(page.url)
    other.wait_for_selector("#sheet img", state="attached")
    same_sheet(other, sheet(page))
    assert other.inner_text("#near button") == page.inner_text("#near button") == "More like face 5, then 6 ×"
    page.click("#history .undo")
    page.wait_for_url(re.compile("near=4&"))
    same_sheet(page, around)
    page.locator("#history .states [data-index='1'][aria-current]").wait_for()  # the page is at rest
    page.click("#near button")
    same_sheet(page, all_faces)
    page.wait_for_url(lambda url: "near" not in url)
    assert not page.is_visible("#near button")
    page.go_back()
    same_sheet(page, around)
    page.click("#dice")
    page.wait_for_url(lambda url: "seed=" in url and "near" not in url)
    other.click("#evidence [data-example=sepia]")
    other.wait_for_url(lambda url: "example=sepia" in url and "near" not in url)


def test_the_sets_own_sliders(page, served_small):
    opened(page, f"{served_small}/?example=red_hair", panel=False)
    still = sheet(page)
    assert not page.is_visible("#along")
    unfold(page, "This set's own sliders")
    page.wait_for_selector("#along img >> nth=5")
    for row in (1, 2, 3):
        low, high = (picture_of(page, f"#along .moves div:nth-child({row}) img:nth-of-type({end})") for end in (1, 2))
        assert (low != high).any()
    page.focus("#along input")
    for press in ("ArrowRight", "ArrowRight", "Tab", "ArrowLeft"):
        page.keyboard.press(press)
    page.wait_for_url(re.compile("along=0.2,-0.1&"))
    another_sheet(page, still)
    page.click("#history .states button")
    same_sheet(page, still)
    page.wait_for_function(AT_JS, arg="0,0,0")
    upload(page, EXAMPLES["sepia"][:4], 4)
    page.wait_for_selector("#moves", state="hidden")
