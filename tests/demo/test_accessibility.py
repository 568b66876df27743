"""The page for users who do not see it, use no pointer, or prefer reduced motion."""

import pytest

from ..helpers import frames
from .conftest import ARTIFACTS, EXAMPLES, choose_example, opened, researchers, says
from .test_studio import another_sheet, sheet, upload, wait_samples, wait_status

# Contrast, names, order and targets of 24 pixels; "minor" ones are matters of taste.
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
# Gradio's sign of an output that has nothing yet.
NOTHING_YET = '<div aria-label="Empty value"'
REACHED_JS = "document.activeElement?.id === 'closeness-range'"
INNER_JS = """
([at, name]) => [...document.querySelectorAll(`${at} button`)].find(one => one.textContent.trim() === name).click()
"""
UNFOLD_JS = """
() => document.querySelectorAll('button.label-wrap:not(.open)').forEach(one => { if (one.offsetParent) one.click(); })
"""


def press(page, selector):
    """A click on an element, in a closed drawer, too."""
    page.wait_for_selector(selector, state="attached")
    page.evaluate("at => document.querySelector(at).click()", selector)


def look_into(page, results, *names):
    """Inner tabs, which on a phone may be in the menu of those that do not fit; and where they lie."""
    for name in names:
        page.evaluate(INNER_JS, [results, name])
        page.locator(f"{results} [role=tabpanel]").filter(visible=True).first.wait_for()
        frames(page, 20)
        yield name, results


def filled(page, tab):
    """Fill a tab, and open its parts one after another. Gives each state, and the part of the page that is new."""
    if tab == "Studio":
        press(page, "#evidence [data-example=red_hair]")
        wait_samples(page)
        press(page, "#evidence-cards .open")
        page.wait_for_selector("#evidence-details .details", state="attached")
        yield tab, "html"
        if page.is_visible("#drawer .handle"):
            page.click("#drawer .handle")
            yield "the drawer", "#drawer"
            page.keyboard.press("Escape")
        page.click("#sheet summary >> nth=0")
        yield "a menu", "#sheet"
        page.keyboard.press("Escape")
        assert not page.is_visible("#get-zip")
        researchers(page)
        yield "the panel for researchers", "#lab"
        yield from look_into(page, "#results", "Sweep", "Structure and style", "Numbers", "Download")
        researchers(page, on=False)
    elif tab == "Restyle":
        says(page, "#restyle-status", "A check")  # the worked example
        press(page, "#style [data-example=sepia]")
        says(page, "#style-status", "18 pictures")
        says(page, "#restyle-status", "A check")
        yield tab, "html"
    elif tab == "Interpolate":
        page.wait_for_selector("#player .strip img")
        says(page, "#interpolate-status", "images in")
        yield tab, "html"
    elif tab == "Tell apart":
        for index, key in enumerate(("greyscale", "cartoon")):
            page.set_input_files(f"#classify-{index}-files input[type=file]", EXAMPLES[key][:2])
            says(page, f"#classify-{index}", "2 examples")
        page.set_input_files("#classify-queries input[type=file]", EXAMPLES["sepia"][:1])
        page.wait_for_selector("#classify-answers .bars")
        press(page, "#classify-0-cards .open")
        page.wait_for_selector("#classify-0-details .details")
        yield tab, "html"
        yield from look_into(page, "#classify-results", "Download")
    else:
        page.locator(BEHIND[tab]).wait_for()
        yield tab, "html"


# Inner tabs of "Behind it", with an element that each has.
BEHIND = {"How it works": "#how-lam", "How far it goes": "#far", "Tell apart": "#classify-add", "About": "#about"}
TABS = ("Studio", "Restyle", "Interpolate", *BEHIND)
# Two elements of a tab, whose distance stays the same when a result comes between them.
FIXED = {"Studio": ("#closeness-range", "#history"), "Interpolate": ("#side-a-files", "#scrubber")}


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_no_tab_has_a_barrier_and_each_fits_its_window(new_page, served_small, width, dark):
    """With results and all of it unfolded. Nothing moves when a result comes."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(new_page(width=width, height=900, dark=dark), served_small, panel=False)
    assert page.locator("body.dark").count() == dark
    found = []

    def look(state, part):
        frames(page, 40)  # dimmed elements fade in
        for one in axe.run(page, part, OPTIONS).response["violations"]:
            if one["impact"] != "minor":
                nodes = [node["html"][:160] for node in one["nodes"] if not node["html"].startswith(NOTHING_YET)]
                found.extend(f"{state}: {one['id']}: {html}" for html in nodes)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{state}: wider than its window")

    def distance(tab):
        top, bottom = (page.locator(at).bounding_box()["y"] for at in FIXED[tab])
        return bottom - top

    for tab in TABS:
        if tab in BEHIND:
            page.get_by_role("tab", name="Behind it").click()
        page.get_by_role("tab", name=tab, exact=True).click()
        if tab in FIXED:
            page.wait_for_selector(FIXED[tab][1])
        frames(page, 20)
        before = tab in FIXED and distance(tab)
        for state, part in filled(page, tab):
            if state == tab:
                page.screenshot(path=ARTIFACTS / f"{tab}_{width}.png", full_page=True)
                assert tab not in FIXED or distance(tab) == pytest.approx(before, abs=2), tab
            page.evaluate(UNFOLD_JS)
            look(state, part)
    assert not found, "\n".join(found)


def test_the_slider_is_ten_keys_from_the_top(studio):
    page = studio
    choose_example(page, "sepia")
    researchers(page, on=False)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.mouse.click(2, 2)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate(REACHED_JS):
            break
    assert page.evaluate(REACHED_JS), page.evaluate("document.activeElement.outerHTML.slice(0, 300)")
    for keys, value in (("Home", "0"), ("ArrowRight ArrowRight", "0.05"), ("End", "1"), ("ArrowLeft", "0.975")):
        for key in keys.split():
            page.keyboard.press(key)
        assert page.input_value("#closeness-range") == value
    researchers(page)


def test_the_focus_stays_near_what_was_closed_or_removed_or_waits(studio):
    page = studio
    upload(page, EXAMPLES["sepia"][:4], used=4)
    for action in ("open", "remove"):
        page.focus("#evidence-cards .open")
        page.keyboard.press("Enter")
        page.focus(f"#evidence-details [data-action={action}]")
        page.keyboard.press("Enter")
        page.wait_for_selector("#evidence-details .details", state="detached")
        page.wait_for_function("document.activeElement.matches('#evidence-cards .open')")
    wait_status(page, "m = 3")
    page.wait_for_selector("#sheet [data-do=more]:not([disabled])")
    page.focus("#sheet [data-do=more]")
    before = sheet(page)
    page.keyboard.press("Enter")
    another_sheet(page, before)
    page.wait_for_function("document.activeElement.dataset.do === 'more'")


@pytest.fixture
def any_page(kept_page, served_small):
    """The Studio as another test left it."""
    return kept_page(lambda page: opened(page, served_small), lambda page: None)


def test_nothing_moves_for_users_who_prefer_reduced_motion(any_page):
    moving = any_page.evaluate(
        """() => [...document.querySelectorAll('*')].filter(one => {
          const {transitionDuration, animationDuration} = getComputedStyle(one);
          return [transitionDuration, animationDuration].some(text => text.split(',').some(t => parseFloat(t) > .01));
        }).map(one => one.outerHTML.slice(0, 120))"""
    )
    assert not moving, moving[:5]


def test_no_button_of_gradios_does_nothing(any_page):
    """Sharing would send a picture to another server, and works on that server alone."""
    config = any_page.evaluate("window.gradio_config.components.map(({type, props}) => [type, props.buttons])")
    kinds = {kind for kind, _ in config}
    assert {"image", "imageslider", "code"} <= kinds
    assert not [kind for kind, buttons in config if "share" in (buttons or [])]
    assert all(buttons == [] for kind, buttons in config if kind == "image")
    assert all(buttons == ["copy"] for kind, buttons in config if kind == "code")
