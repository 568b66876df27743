"""The page for a first-time visitor, and for a link of an earlier version."""

import numpy as np

from .conftest import unfold
from .test_studio import decoded, sheet, slider, wait_samples, wait_status

SIZE_JS = "at => parseFloat(getComputedStyle(document.querySelector(at)).fontSize)"


def test_it_opens_with_samples_their_images_and_three_steps(page, served_small, shot):
    page.goto(served_small)
    wait_samples(page)
    shown = page.locator("#evidence [data-example]").evaluate_all("all => all.map(one => one.dataset.example)")
    assert shown == ["paintings", "drawings", "red_hair", "greyscale", "sketch", "sepia"]
    steps = [" ".join(one.split()) for one in page.locator(".step").filter(visible=True).all_inner_texts()]
    assert sorted(steps) == ["1 Add a few images", "2 Move the slider", "3 Keep what you like"]
    assert page.locator("#evidence-cards .card").count() == 21
    picker, tabs = page.locator("#prior").bounding_box(), page.get_by_role("tablist").first.bounding_box()
    assert abs(picker["x"] + picker["width"] - tabs["x"] - tabs["width"]) < 40  # the model is in the corner
    assert "close to your images" in page.inner_text("#lam") and "free" in page.inner_text("#lam")
    assert page.inner_text("#lam output").startswith("λ/m")
    assert page.evaluate(SIZE_JS, "#lam output") < page.evaluate(SIZE_JS, "#lam label")
    assert "log p" not in page.inner_text("body")  # behind a click on an image
    page.get_by_role("link", name="no images: the model alone").click()
    wait_status(page, "No images yet: samples of the model. Add images to steer them")
    shot(page, "studio_prior")


def test_levels_start_at_the_one_slider_which_then_advises_nothing(page, served_small):
    """The address is one of an earlier version."""
    page.goto(f"{served_small}/?example=sepia&manner=mean&lam=0.5")
    wait_status(page, "λ/m = 0.5, m = ")
    assert "(recommended)" in page.inner_text("#lam output") and page.is_visible("#lam .band")
    page.focus("#lam-range")
    page.keyboard.press("Home")
    wait_status(page, "λ/m = 0.01, ")
    same = sheet(page)
    unfold(page, "Advanced: one λ/m for each latent level")
    page.click("#by-level input")
    wait_status(page, "λ/m = 0.01, 0.01, m = ")
    assert np.abs(decoded(sheet(page)) - decoded(same)).max() <= 8  # JPEG of the same samples, to rounding
    page.wait_for_selector("#lam .band", state="hidden")
    assert slider(page) == 0.01
    page.focus("#lam-1-range")
    page.keyboard.press("End")
    wait_status(page, "λ/m = 0.01, 10, m = ")
    assert np.abs(decoded(sheet(page)) - decoded(same)).mean() > 3
