"""What a first-time visitor meets before touching anything, and in plain words."""

from .conftest import EXAMPLES
from .test_studio import opened, slider, upload, wait_status

SIZE_JS = "at => parseFloat(getComputedStyle(document.querySelector(at)).fontSize)"


def test_it_opens_on_a_result_with_its_evidence_and_three_steps(page, served_small, shot):
    page.goto(served_small)
    wait_status(page, "m = 18 ")
    shown = page.locator(".step").filter(visible=True).all_inner_texts()
    assert sorted(" ".join(text.split()) for text in shown) == [
        "1 Give a few images",
        "2 Move the slider",
        "3 Keep what you like",
    ]
    assert page.locator("#evidence-cards .card").count() == 18
    assert "close to your images" in page.inner_text("#lam") and "free" in page.inner_text("#lam")
    assert page.inner_text("#lam output").startswith("λ/m")
    assert page.evaluate(SIZE_JS, "#lam output") < page.evaluate(SIZE_JS, "#lam label")
    assert "log p" not in page.inner_text("body")  # behind a click on an image
    page.get_by_role("link", name="nothing: what the model draws by itself").click()
    wait_status(page, "the prior itself: give images, and the slider has something to be close to")
    shot(page, "studio_prior")


def test_one_image_is_one_image(page, served_small):
    opened(page, served_small)
    upload(page, EXAMPLES["sepia"][:1], used=1)
    assert page.inner_text("#evidence-status").startswith("1 image, m = 1")


def test_levels_start_where_the_one_slider_stands_and_then_it_advises_nothing(page, served_small):
    page.goto(f"{served_small}/?example=sepia&manner=mean&lam=0.5")
    wait_status(page, "λ/m = 0.5, m = 18")
    assert "(recommended)" in page.inner_text("#lam output") and page.is_visible("#lam .band")
    page.focus("#lam-range")
    page.keyboard.press("Home")
    wait_status(page, "λ/m = 0.01, ")
    page.get_by_text("Advanced: one λ/m for each latent level").click()
    page.click("#by-level input")
    wait_status(page, "λ/m = 0.01, 0.01, m = 18")
    page.wait_for_selector("#lam .band", state="hidden")
    assert slider(page) == 0.01
