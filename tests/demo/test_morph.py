"""The morph through the samples of the Studio, in a real browser. How it moves: `cli/test_operations`."""

from PIL import Image
from playwright.sync_api import expect

from .conftest import opened, saved, says


def draw(page, n):
    page.fill("#number input", str(n))
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('#sheet .cells button').length === n", arg=n)
    says(page, "#samples-status", f"{n} sample")


def test_one_click_plays_all_samples_as_a_loop_that_can_be_saved_but_not_one_sample(page, served_small, tmp_path):
    draw(opened(page, served_small), 4)
    page.click("#morph-run")
    page.wait_for_selector("#morph-shown img[alt='4 faces, each turns into the next']")
    says(page, "#morph-status", "64 pictures in")
    expect(page.locator("#morph-shown img")).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("document.querySelector('#morph-shown img').decode().then(() => true)")
    for kind in ("webp", "gif", "mp4"):
        file = saved(page, f"#morph-get-{kind}", tmp_path)
        assert file.name == f"morph.{kind}" and file.stat().st_size > 1000
    with Image.open(tmp_path / "morph.webp") as morph:
        assert (morph.n_frames, morph.size) == (64, (256, 256))
    draw(page, 1)
    page.wait_for_selector("#morph", state="hidden")  # it showed other faces
    page.click("#morph-run")
    page.get_by_text("A morph needs two samples or more").wait_for()
