"""The page for those who do not see it, use no pointer, or are made sick by movement."""

import pytest

from ..helpers import frames
from .test_studio import opened, wait_status

TABS = ("Studio", "Restyle", "Interpolate", "Classify", "How it works")
# Contrast, names, order and targets of 24 pixels; "minor" ones are matters of taste.
OPTIONS = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
REACHED_JS = "document.activeElement?.id === 'lam-range'"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_tab_has_a_barrier(new_page, served_small, width, dark):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(new_page(width=width, height=900, dark=dark), served_small)
    page.evaluate("document.querySelector('#evidence [data-example=red_hair]').click()")
    wait_status(page, "m = 18 ")
    page.evaluate("document.querySelector('#evidence-cards .open').click()")
    page.wait_for_selector("#evidence-details .details", state="attached")
    found = []
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        frames(page, 40)  # dimmed things fade in
        for one in axe.run(page, options=OPTIONS).response["violations"]:
            if one["impact"] != "minor":
                found += [(tab, one["id"], node["html"][:200]) for node in one["nodes"]]
    assert not found, found


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
