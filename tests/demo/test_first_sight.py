"""The page for a first-time visitor, and for a link of an earlier version."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from demo.examples import example_sets
from demo.render import sheet_picture
from demo.static import FOLDER
from demo.tabs.studio import OPENING, _opening
from demo.tabs.studio_results import DEFAULT, Request, Result
from transflow_core import Engine, Method, load_prior, to_pil
from transflow_core.posterior import resolve

from ..helpers import TIMEOUT, frames
from .conftest import researchers, says, waited
from .test_studio import wait_samples, wait_slider, wait_status

SIZE_JS = "at => parseFloat(getComputedStyle(document.querySelector(at)).fontSize)"


def test_it_opens_with_samples_and_their_images_all_in_sight_at_once(new_page, served_small):
    page = new_page(width=1280, height=720)
    page.goto(served_small)
    wait_samples(page)
    page.wait_for_selector("#history .states img")
    for at in ("h1", "#sheet .large", "#sheet .stage", "#sheet .closest", "#closeness-range", "#dice", "#history"):
        box = page.locator(at).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720 and box["x"] + box["width"] <= 1280, at
    assert page.locator("#sheet .large").bounding_box()["width"] >= 430
    page.set_viewport_size({"width": 1600, "height": 900})
    expect(page.locator("#sheet .large")).to_have_css("width", "520px")
    page.set_viewport_size({"width": 900, "height": 900})
    researchers(page)  # from below: beside it no space would be left
    assert min(page.locator(at).bounding_box()["width"] for at in ("#closeness", "#sheet .large")) > 200
    researchers(page, False)
    page.set_viewport_size({"width": 1600, "height": 900})
    shown = page.locator("#evidence [data-example]:visible").evaluate_all("all => all.map(one => one.dataset.example)")
    assert shown == ["paintings", "drawings", "red_hair", "greyscale", "sketch", "sepia"]
    assert page.inner_text("h1") == "Transflow Studio"
    assert page.get_by_text("A few faces in, new ones out.").is_visible()
    expect(page.locator("#evidence-cards .card")).to_have_count(21)
    assert "closer to my photos" in page.inner_text("#closeness") and "newer" in page.inner_text("#closeness")
    assert page.inner_text("#closeness output").startswith("λ/m")
    assert page.evaluate(SIZE_JS, "#closeness output") < page.evaluate(SIZE_JS, "#closeness label")
    said = page.inner_text("#faces-status").strip()
    assert re.fullmatch(r"16 new faces, \d+\.\d s\. Some may resemble a painting\.", said)
    assert "log p" not in page.inner_text("body")  # behind a click on an image
    page.get_by_role("button", name="Privacy").click()
    assert "Nothing is trained on them" in page.inner_text("#privacy")
    page.keyboard.press("Escape")
    assert not page.is_visible("#privacy")
    assert page.get_by_role("link", name="Paper").get_attribute("href") == "https://arxiv.org/abs/1911.13270"
    page.get_by_role("link", name="no images: the model alone").click()
    wait_status(page, "No images yet: samples of the model. Add images to steer them")
    says(page, "#faces-status", "They are the model's own.")


@pytest.mark.parametrize("width", [1280, 1920, 390])
def test_the_first_face_is_seen_before_the_scripts_have_come(new_page, served, width):
    """Where the page has it then."""
    page, held, go = new_page(width=width, height=844, touch=width == 390), [], []
    page.route("**/assets/*.js", lambda route: route.continue_() if go else held.append(route))
    page.goto(served, wait_until="commit")
    cover, face = page.locator("#cover"), page.locator("#cover i").first
    expect(cover.locator("h1")).to_have_text("Transflow Studio")
    expect(face).to_have_css("background-image", re.compile("data:image/jpeg"))
    before, title = face.bounding_box(), cover.locator("h1").bounding_box()
    seen = _picture(face)
    go.append(True)
    for route in held:
        route.continue_()
    expect(cover).to_have_count(0)
    for one, selector in ((before, "#sheet .large"), (title, "#title h1")):
        after = page.locator(selector).bounding_box()
        assert all(abs(one[key] - after[key]) <= 4 for key in "xy"), selector
    wait_samples(page)
    large = _picture(page.locator("#sheet .large"))
    assert seen.width > 300 and abs(seen.width - large.width) <= 2
    assert np.abs(np.asarray(seen.resize(large.size), float) - np.asarray(large)).mean() < 8


def _picture(element):
    """What is seen there, once it is decoded."""

    def seen():
        image = Image.open(io.BytesIO(element.screenshot())).convert("RGB")
        return image if np.asarray(image).std() > 20 else None

    return waited(seen)


def test_a_link_to_other_samples_shows_none_before(new_page, served_small):
    page = new_page()
    page.route("**/assets/*.js", lambda route: None)
    page.goto(f"{served_small}/?example=sepia", wait_until="commit")
    expect(page.locator("#cover p")).to_have_text("Loading …")
    expect(page.locator("#cover i").first).to_have_css("background-image", "none")


def test_the_picture_that_the_page_opens_with_is_what_it_draws_and_has_the_same_large_face():
    engine = Engine(load_prior())
    evidence = engine.read(example_sets()[OPENING].files)
    request = Request(evidence, resolve(DEFAULT.replace(**dict(Method())), evidence.posterior(), engine.looks)[0])
    sampler = request.sampler(engine)
    pictures, small = (
        to_pil(engine.sample(sampler, **request.draws, side=side).images) for side in (None, request.side(engine))
    )
    sheet, value = np.asarray(sheet_picture(pictures), float), _opening()
    with Image.open(FOLDER / "opening.jpg") as image:
        assert np.abs(sheet - np.asarray(image, float)).mean() < 2
        assert image.width == 4 * (value["cell"] + value["gap"]) + value["gap"]  # faces are cut from it
    assert Result(request, engine, small, {}).best[0] == value["large"]


def test_one_slider_moves_likeness_and_lam_and_they_move_it(page, served_small):
    page.goto(f"{served_small}/?lab=1")
    wait_samples(page)
    assert page.is_visible("#method")
    page.wait_for_selector("#history .states img")
    expect(page.locator("#evidence-cards .card")).to_have_count(21)
    frames(page, 60)  # the controls have the values of the set
    page.focus("#closeness-range")
    page.keyboard.press("Home")
    wait_status(page, "λ/m = 0.01, ")
    wait_status(page, "likeness 100 %")
    says(page, "#closeness output", "λ/m 0.01")
    wait_slider(page, 0.01)
    expect(page.locator("#method-likeness-range")).to_have_value("1")
    expect(page.locator("#method-auto input")).not_to_be_checked()
    page.keyboard.press("ArrowRight")
    shown = page.inner_text("#closeness output").split()[1]
    wait_status(page, f"λ/m = {shown}, ")
    wait_slider(page, float(shown))
    assert float(shown) > 0.01
    page.focus("#lam-range")
    page.keyboard.press("End")
    wait_status(page, "λ/m = 10, ")
    says(page, "#closeness output", "λ/m 10")
    page.wait_for_function("document.querySelector('#closeness-range').value > 0.5")
    # Another method has no likeness: the slider moves its λ/m alone.
    page.get_by_label("The paper's").click()
    wait_status(page, "λ/m = 0.5, ")
    says(page, "#closeness output", "λ/m 0.5")
    page.focus("#closeness-range")
    page.keyboard.press("End")
    wait_status(page, "λ/m = 10, ")
    wait_status(page, "posterior of the mean")


def test_who_looks_at_another_tab_before_the_first_samples_comes_back_to_their_address(page, served_small, hold):
    drawn = hold("sample")
    page.goto(f"{served_small}/?example=none")
    assert drawn.begun.wait(TIMEOUT)
    for tab, query in (("Restyle", "tab=restyle"), ("Studio", "example=none")):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_url(f"{served_small}/?{query}")
    drawn.go_on.set()
    says(page, "#faces-status", "They are the model's own.")
    assert "example=none" in page.url and "tab=" not in page.url


def test_the_panel_for_researchers_stays_as_it_was_left(page, served_small):
    page.goto(f"{served_small}/?example=none")
    page.wait_for_selector("#sheet .large img")
    expect(page.locator("#closeness-range")).to_be_disabled()  # there is nothing to be close to
    hidden = ("#prior", "#method", "#seed", "#results", "#samples-status")
    assert not [at for at in hidden if page.is_visible(at)]
    button = page.get_by_role("button", name="For researchers")
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    page.wait_for_selector("#method")
    assert all(page.is_visible(at) for at in hidden) and button.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.reload()
    page.wait_for_selector("#method")
    page.get_by_role("tab", name="Restyle", exact=True).click()
    page.wait_for_selector("#method", state="hidden")  # of the Studio alone
    assert page.is_visible("#prior")
    page.get_by_role("tab", name="Studio", exact=True).click()
    button.click()
    page.wait_for_selector("#method", state="hidden")
    page.reload()
    page.wait_for_selector("#sheet .large img")
    assert not page.is_visible("#method")
