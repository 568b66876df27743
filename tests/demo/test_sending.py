"""Files on their way to the server: the page says how far they are, and sends a telephone's photographs smaller."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from demo.server import middleware

from .conftest import EXAMPLES, waited
from .test_panel import CARDS, FILES

pytestmark = pytest.mark.browser
CARD, TOAST, RESTYLE = "#sending", ".toast-body", "#restyle-files input[type=file]"


@pytest.fixture
def visitor(new_page, served_small):
    """A page that is open, and its context."""
    page = new_page()
    page.goto(f"{served_small}/?example=none")
    page.wait_for_selector("#sheet .large img")
    return page


def test_what_is_being_sent_is_said_and_can_be_stopped(visitor):
    page = visitor
    held = []
    page.route("**/upload", lambda route: held.append(route))
    page.set_input_files(FILES, EXAMPLES["sepia"][:3])
    expect(page.locator(f"{CARD} [role=status]")).to_have_text("Sending 3 files …")
    expect(page.locator(f"{CARD} progress")).to_be_visible()
    page.click(f"{CARD} button >> text=Stop")
    expect(page.locator(CARD)).to_be_hidden()
    assert len(held) == 1 and not page.locator(CARDS).count()
    assert not page.locator(TOAST).count()
    page.unroute_all()
    page.set_input_files(FILES, EXAMPLES["sepia"][:3])  # the same again
    expect(page.locator(CARDS)).to_have_count(3)
    expect(page.locator(CARD)).to_be_hidden()


@pytest.mark.parametrize("why", ["The line broke.", "The server's disk is full of uploads."])
def test_files_that_were_not_sent_are_said_with_the_reason(visitor, monkeypatch, why):
    page = visitor
    if "disk" in why:
        monkeypatch.setattr(middleware, "_DISK", 0)
    else:
        page.route("**/upload", lambda route: route.abort())
    page.set_input_files(FILES, EXAMPLES["sepia"][:2])
    expect(page.locator(f"{CARD} [role=status]")).to_contain_text(f"The files were not sent. {why}")
    expect(page.locator(f"{CARD} progress")).to_be_hidden()
    assert not page.locator(TOAST).count()
    page.click(f"{CARD} button >> text=Close")
    expect(page.locator(CARD)).to_be_hidden()
    page.set_input_files(FILES, EXAMPLES["sepia"][:2])
    again = page.locator(f"{CARD} button >> text=Try again")
    again.wait_for()
    monkeypatch.undo()
    page.unroute_all()
    again.click()
    expect(page.locator(CARDS)).to_have_count(2)
    expect(page.locator(CARD)).to_be_hidden()


def test_a_file_that_is_too_large_is_named_and_the_others_are_sent(visitor, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**26 + 1)
    visitor.set_input_files(FILES, [str(tmp_path / "large.png"), EXAMPLES["sepia"][0]])
    expect(visitor.locator("#evidence-files .said")).to_have_text("large.png is larger than 64 MB.")
    expect(visitor.locator(CARDS)).to_have_count(1)


@pytest.mark.parametrize("host", ["127.0.0.1", "away.test"])
def test_photographs_are_sent_smaller_to_another_machine_where_only_faces_are_used(
    new_page, served_small, tmp_path, host
):
    """As large as a telephone's, on their side, with a place."""
    rng = np.random.default_rng(0)
    photograph, drawing = tmp_path / "phone.jpg", tmp_path / "drawing.png"
    exif = Image.Exif()
    exif[0x0112], exif.get_ifd(0x8825)[1] = 6, "N"
    Image.fromarray(rng.integers(0, 256, (2250, 3000, 3), np.uint8)).save(photograph, quality=80, exif=exif)
    Image.fromarray(rng.integers(0, 256, (800, 2600), np.uint8)).save(drawing)
    page = new_page()
    page.goto(served_small.replace("127.0.0.1", host) + "/?example=none")
    page.wait_for_selector("#sheet .large img")

    def sent(name):
        """Where the last file of this name lies on the server."""
        return waited(
            lambda: sorted(Path(os.environ["GRADIO_TEMP_DIR"]).rglob(name), key=lambda one: one.stat().st_mtime)
        )[-1]

    page.set_input_files(FILES, [str(photograph), str(drawing)])
    expect(page.locator(CARDS)).to_have_count(2)
    assert sent("drawing.png").read_bytes() == drawing.read_bytes()
    with Image.open(sent("phone.jpg")) as image:
        away = host != "127.0.0.1"
        assert image.size == ((1920, 2560) if away else (3000, 2250))
        assert bool(image.getexif()) != away
    page.get_by_role("tab", name="Restyle").click()
    page.set_input_files(RESTYLE, str(photograph))
    waited(lambda: sent("phone.jpg").read_bytes() == photograph.read_bytes())
