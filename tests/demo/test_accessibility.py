"""The page for those who do not see it, use no pointer, or are made sick by movement."""

import pytest

from ..helpers import frames
from .conftest import says
from .test_studio import opened, wait_status

# Contrast, names, order and targets of 24 pixels; "minor" ones are matters of taste.
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
REACHED_JS = "document.activeElement?.id === 'lam-range'"
UNFOLD_JS = """
() => document.querySelectorAll('button.label-wrap:not(.open)').forEach(one => { if (one.offsetParent) one.click(); })
"""


def press(page, selector):
    """A click, wherever the element lies: in a drawer that is shut, too."""
    page.wait_for_selector(selector, state="attached")
    page.evaluate("at => document.querySelector(at).click()", selector)


def look_into(page, results, inner):
    """An inner tab, which on a phone may be in the menu of those that do not fit."""
    page.evaluate(
        "([at, name]) => [...document.querySelectorAll(`${at} button`)].find(one => one.innerText.trim() === name"
        " || one.textContent.trim() === name).click()",
        [results, inner],
    )
    page.locator(f"{results} [role=tabpanel]").filter(visible=True).first.wait_for()
    frames(page, 20)


def filled_studio(page):
    press(page, "#evidence [data-example=red_hair]")
    wait_status(page, "m = 18 ")
    press(page, "#evidence-cards .open")
    page.wait_for_selector("#evidence-details .details", state="attached")
    yield "Studio"
    if page.is_visible("#drawer .handle"):
        page.click("#drawer .handle")
        yield "the drawer"
        page.keyboard.press("Escape")
    for inner in ("Sweep", "Structure and style", "Mean and evidence", "Numbers", "Take away"):
        look_into(page, "#results", inner)
        yield inner
    press(page, "#sheet .cells button")
    page.wait_for_selector("#sheet .viewer a[href]")
    yield "a sample"
    page.keyboard.press("Escape")


def filled_restyle(page):
    press(page, "#restyle-try")
    says(page, "#restyle-status", "choose a style")
    press(page, "#style [data-example=sepia]")
    says(page, "#restyle-status", "descriptor")
    yield "Restyle"


def filled_interpolate(page):
    press(page, "#interpolate-try")
    page.wait_for_selector("#player .strip img")
    says(page, "#interpolate-status", "images in")
    yield "Interpolate"


def filled_classify(page):
    press(page, "#classify-examples [data-example=styles]")
    says(page, "#classify-status", "answers right")
    press(page, "#classify-0-cards .open")
    page.wait_for_selector("#classify-0-details .details")
    yield "Classify"
    for inner in ("Classes", "Take away"):
        look_into(page, "#classify-results", inner)
        yield inner


def filled_how(page):
    page.wait_for_selector("#how-lam")
    yield "How it works"


TABS = {
    "Studio": filled_studio,
    "Restyle": filled_restyle,
    "Interpolate": filled_interpolate,
    "Classify": filled_classify,
    "How it works": filled_how,
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_tab_has_a_barrier_and_each_fits_its_window(new_page, served_small, shot, width, dark):
    """As it opens, and with something in it and all of it unfolded."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(new_page(width=width, height=900, dark=dark), served_small)
    found = []

    def look(place):
        frames(page, 40)  # dimmed things fade in
        for one in axe.run(page, options=OPTIONS).response["violations"]:
            if one["impact"] != "minor":
                found.extend(f"{place}: {one['id']}: {node['html'][:160]}" for node in one["nodes"])
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{place}: wider than its window")

    for tab, filled in TABS.items():
        page.get_by_role("tab", name=tab, exact=True).click()
        frames(page, 20)
        look(f"{tab}, empty")
        for place in filled(page):
            if place == tab:
                shot(page, f"{tab}_{width}_{'dark' if dark else 'light'}")
            page.evaluate(UNFOLD_JS)
            look(place)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("tab", "upper", "lower"), [("Studio", "#lam-range", "#method"), ("Interpolate", "#interpolate-run", "#scrubber")]
)
def test_nothing_jumps_when_a_result_comes(new_page, served_small, width, tab, upper, lower):
    page = opened(new_page(width=width, height=900), served_small)
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_selector(lower)

    def distance():
        top, bottom = (page.locator(at).bounding_box()["y"] for at in (upper, lower))
        return bottom - top

    frames(page, 20)
    before = distance()
    next(TABS[tab](page))
    assert distance() == pytest.approx(before, abs=2)


def test_the_slider_is_ten_keys_from_the_top(page, served_small):
    opened(page, served_small)
    page.click("#evidence [data-example=sepia]")
    wait_status(page, "m = 18 ")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.mouse.click(2, 2)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(REACHED_JS):
            break
    assert page.evaluate(REACHED_JS), page.evaluate("document.activeElement.outerHTML.slice(0, 300)")


def test_nothing_moves_for_those_who_ask_for_that(page, served_small):
    page.emulate_media(reduced_motion="reduce")
    opened(page, served_small)
    moving = page.evaluate(
        """() => [...document.querySelectorAll('*')].filter(one => {
          const {transitionDuration, animationDuration} = getComputedStyle(one);
          return [transitionDuration, animationDuration].some(text => text.split(',').some(t => parseFloat(t) > .01));
        }).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert not moving, moving[:5]


def test_no_button_of_gradios_offers_what_it_cannot_do(served_small, page):
    """Sharing sends a picture to a server that is not ours, and works on that server alone."""
    page.goto(served_small)
    config = page.evaluate("window.gradio_config.components.map(({type, props}) => [type, props.buttons])")
    kinds = {kind for kind, _ in config}
    assert {"image", "imageslider", "code"} <= kinds
    assert not [kind for kind, buttons in config if "share" in (buttons or [])]
    assert all(buttons == [] for kind, buttons in config if kind == "image")
    assert all(buttons == ["copy"] for kind, buttons in config if kind == "code")
