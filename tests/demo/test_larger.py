"""A picture four times larger, in a real browser. The network is not needed: pixels are repeated in its place."""

import pytest
from PIL import Image

from transflow_core.images import load_image
from transflow_core.images.output import read_png_metadata
from transflow_core.operations import enlarging

from ..helpers import repeated
from .conftest import EXAMPLES, TINY, saved, says
from .test_phone import Finger
from .test_studio import wait_samples


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(enlarging, "can_enlarge", lambda: True)
    monkeypatch.setattr(enlarging, "_steps", repeated)


@pytest.fixture
def hand(new_page):
    return Finger(new_page(390, 844, touch=True), scrolls=True)


def test_a_face_is_saved_and_shown_four_times_larger(hand, served_small, tmp_path):
    page = hand.page
    page.goto(served_small)
    wait_samples(page)
    page.wait_for_selector("#sheet [data-do=larger]:enabled", state="attached")
    hand.tap("#sheet summary >> nth=0")
    path = saved(page, "#sheet [data-do=larger]", tmp_path, hand.tap)
    assert load_image(path).size == (64, 64) and "invents" in read_png_metadata(path)["enlarged"]
    says(page, "#morph-status", "64 × 64 pixels")
    assert "The finest detail is invented." in page.inner_text("#morph-status")
    width = "document.querySelector('#sheet .large img').naturalWidth"
    page.wait_for_function(f"{width} === 64")
    page.click("#sheet .large")  # the next face is as it was drawn, and this one stays large
    page.wait_for_function(f"{width} === 16")
    page.wait_for_selector("#sheet [data-do=save]:enabled", state="attached")
    page.focus("#sheet .large")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{width} === 64")


def test_my_portrait_as_an_old_painting_large_in_four_taps(hand, served_small, tmp_path):
    page, portrait = hand.page, tmp_path / "me.png"
    Image.open(EXAMPLES["sepia"][0]).resize((240, 240)).save(portrait)
    page.goto(served_small)
    wait_samples(page)
    hand.tap("[role=tab]:visible >> text=Restyle")
    says(page, "#restyle-status", "A check")  # the tab opens on a worked example, in the style of Old masters
    with page.expect_file_chooser() as chooser:
        hand.tap("#restyle-files button")
    chooser.value.set_files(portrait)
    says(page, "#restyle-status", "1 face in")
    hand.tap("#restyle-save button.label-wrap")
    path = saved(page, "#restyle-larger", tmp_path, hand.tap)
    assert load_image(path).size == (960, 960) and hand.taps == 4
    assert read_png_metadata(path).items() >= {"recipe": "restyle", "strength": "0.6"}.items()
    says(page, "#restyle-larger-status", "960 × 960 pixels")
    Image.open(portrait).resize((600, 600)).save(portrait)
    page.set_input_files("#restyle-files input", portrait)
    page.wait_for_function("!document.querySelector('#restyle-larger-status').innerText.trim()")  # of another photo
    says(page, "#restyle-status", "1 face in")
    page.click("#restyle-larger")
    page.locator(".toast-body", has_text="600 × 600 pixels already").wait_for()
    page.wait_for_function("!document.querySelector('#restyle-larger-status').innerText.trim()")
    assert not page.is_visible("#restyle-larger-stop")


def test_where_it_is_not_installed_it_is_off_and_says_how_to_install_it(page, served):
    page.goto(f"{served}/?tab=restyle&example=none&prior={TINY}")
    page.locator("#restyle-save button.label-wrap").click()
    page.get_by_text(f"can switch it on by {enlarging.INSTALL}").filter(visible=True).wait_for()
    assert page.is_disabled("#restyle-larger")
    assert not page.locator("#sheet [data-do=larger]").count()
