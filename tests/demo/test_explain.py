"""The tab "Behind it" in a real browser. What its figure shows is what `Posterior.condition` gives."""

import math
import re

import pytest
import torch

from transflow_core.posterior import Posterior
from transflow_core.posterior.local import LocalNumbers

from ..helpers import frames
from .conftest import researchers, says

DIGITS = 6e-4  # the page writes three decimals


def opened(page, url):
    page.goto(url + "/?tab=how&example=none")
    page.wait_for_selector("#how .mark")
    return page


@pytest.fixture
def how(kept_page, served):
    """The figure as it is at first. The tests share the page."""
    return kept_page(lambda page: opened(page, served), lambda page: page.click("#how [data-do=reset]"))


def written(page, name):
    text = page.locator(f"#how [data-out='{name}']").first.text_content()
    return math.inf if text == "∞" else float(text.replace("−", "-"))


def evidence(page):
    """Where the crosses are, from their text for a screen reader."""
    places = page.locator("#how .mark").evaluate_all("all => all.map(one => one.ariaValueText.replaceAll('−', '-'))")
    return torch.tensor([[float(x) for x in re.findall(r"-?\d+\.\d+", text)] for text in places], dtype=torch.float64)


def move(page, elem_id, value):
    """Move a slider, by its own input event."""
    page.locator(f"#{elem_id}").evaluate(
        "(input, at) => { input.value = at; input.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def go(page, end):
    """To a special case. Returns its λ/m."""
    page.click(f"#how [data-go='{end}']")
    assert written(page, "ratio") == float(end)
    return float(end)


def slide(page, elem_id, value):
    """Move a slider to a λ/m. Returns where it comes to rest, a step of 2 % away."""
    move(page, elem_id, math.log10(value))
    rested = written(page, "ratio")
    assert rested == pytest.approx(value, rel=0.02)
    return rested


def ellipse(page, sigmas):
    shape = page.locator(f"#how .posterior ellipse[data-sigmas='{sigmas}']:not(.fill)")
    return [float(shape.get_attribute(name)) for name in ("cx", "cy", "rx", "ry")]


def samples(page):
    places = page.locator("#how .samples circle").evaluate_all(
        "dots => dots.map(dot => [Number(dot.getAttribute('cx')), -Number(dot.getAttribute('cy'))])"
    )
    return torch.tensor(places, dtype=torch.float64)


def agrees(page, ratio):
    """Every number and every shape of the page against the core, at the λ/m that it should be at."""
    points = evidence(page)
    posterior = Posterior.condition(points, lam_ratio=ratio)
    variance = posterior.variance.item()
    assert written(page, "m") == len(points)
    assert written(page, "variance") == pytest.approx(variance, abs=DIGITS)
    assert written(page, "lam") == pytest.approx(posterior.lam.item(), rel=6e-3)
    for i in range(2):
        assert written(page, f"centre{i + 1}") == pytest.approx(posterior.evidence_mean[i].item(), abs=DIGITS)
        assert written(page, f"mean{i + 1}") == pytest.approx(posterior.mean[i].item(), abs=DIGITS)
    for sigmas in (1, 2):
        cx, cy, rx, ry = ellipse(page, sigmas)
        # The figure's y goes down; what it draws has all decimals.
        assert [cx, -cy] == pytest.approx(posterior.mean.tolist(), abs=1e-9)
        assert [rx, ry] == pytest.approx([sigmas * math.sqrt(variance)] * 2, abs=1e-9)
    return samples(page), posterior


@pytest.mark.parametrize("ratio", [0.2, 10.0, "0", "1", "Infinity"])
def test_numbers_and_shapes_agree_with_the_core(how, ratio):
    """Where the slider rests, and exactly in the special cases."""
    agrees(how, slide(how, "how-lam", ratio) if isinstance(ratio, float) else go(how, ratio))


def test_a_finger_drags_a_cross(new_page, served):
    page = opened(new_page(width=390, height=844, touch=True), served)
    page.locator("#how .plane").scroll_into_view_if_needed()
    before = evidence(page)
    box = page.locator("#how .mark").first.locator(".hit").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    scrolled = page.evaluate("scrollY")
    touch("touchStart", (x, y))
    for step in range(1, 6):
        touch("touchMove", (x + 8 * step, y + 8 * step))
    touch("touchEnd")
    moved = evidence(page)[0] - before[0]
    assert moved[0] > 0.5 and moved[1] < -0.5
    assert page.evaluate("scrollY") == scrolled  # the finger moves the cross, not the page
    agrees(page, 0.5)


def test_everything_is_reached_by_keyboard(how):
    page = how
    mark = page.locator("#how .mark").nth(1)
    mark.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    # The focus is shown by a ring. An outline is measured in the figure's units: it would cover the figure.
    shown = mark.evaluate(
        "at => [getComputedStyle(at).outlineStyle, getComputedStyle(at.querySelector('.ring')).stroke]"
    )
    assert shown[0] == "none" and shown[1] != "none"
    before = evidence(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    moved = (evidence(page) - before)[1].tolist()
    assert moved == pytest.approx([0.1, -0.5])
    page.keyboard.press("Delete")
    assert len(evidence(page)) == 2
    assert page.evaluate("document.activeElement.classList.contains('mark')")
    agrees(page, 0.5)


def test_evidence_is_added_and_removed(how):
    page = how
    add, remove = page.locator("#how [data-do=add]"), page.locator("#how [data-do=remove]")
    for m in (4, 5, 6):
        add.click()
        assert written(page, "m") == m
        agrees(page, 0.5)  # λ/m stays
    assert add.is_disabled()
    for _ in range(5):
        remove.click()
        agrees(page, 0.5)
    assert remove.is_disabled()
    page.locator("#how .mark").focus()
    page.keyboard.press("Delete")
    assert len(evidence(page)) == 1  # the last one stays
    page.click("#how [data-do=reset]")
    assert len(evidence(page)) == 3
    agrees(page, 0.5)


def test_distances_in_the_flows_own_dimensions(how, default_prior):
    """The bars against a posterior of unrelated latents as long as a measured photograph's."""
    page, m = how, 18
    move(page, "how-many", m)
    photograph = written(page, "length-photograph")
    held_out = default_prior.typicality
    shortest, longest = (
        math.sqrt(-2 * quantile - default_prior.dim * math.log(2 * math.pi))
        for quantile in (held_out.log_prior[-1], held_out.log_prior[0])
    )
    assert shortest < photograph < longest
    z = torch.randn(m, default_prior.dim, generator=torch.Generator().manual_seed(0))
    posterior = Posterior.condition(photograph * z / z.norm(dim=1, keepdim=True), lam_ratio=0.5)
    sample = posterior.sample(16, seed=1).norm(dim=1).mean().item()
    assert written(page, "length-evidence") == pytest.approx(posterior.evidence_mean.norm().item(), rel=0.03)
    assert written(page, "length-mean") == pytest.approx(posterior.mean.norm().item(), rel=0.03)
    assert written(page, "length-sample") == pytest.approx(sample, rel=0.02)
    assert written(page, "length-prior") == pytest.approx(math.sqrt(default_prior.dim), abs=0.06)


def test_every_formula_fits_a_phone(how):
    page = how
    page.set_viewport_size({"width": 390, "height": 900})
    frames(page)
    wide = page.locator("#how math").evaluate_all(
        "all => all.filter(math => math.checkVisibility()"
        " && math.parentElement.scrollWidth > math.parentElement.clientWidth + 1).map(math => math.textContent)"
    )
    page.set_viewport_size({"width": 1280, "height": 900})
    assert wide == []


def test_another_model_brings_its_own_numbers(how):
    page = how
    researchers(page)
    page.get_by_label("Model", exact=True).first.click()
    page.get_by_role("option", name="tiny.safetensors").click()
    researchers(page, on=False)
    page.wait_for_function("document.querySelector(\"#how [data-out='dim']\").textContent === '768'")
    assert written(page, "length-prior") == pytest.approx(math.sqrt(768), abs=0.06)
    assert "measured" not in page.inner_text("#how .lengths")  # nobody measured photographs under it
    agrees(page, 0.5)


def test_the_three_methods_draw_from_the_same_random_numbers(how):
    page = how
    paper, _ = agrees(page, 0.5)
    points = evidence(page)

    def drawn_in(likeness):  # the images, as `Local` does
        return points.mean(0) + LocalNumbers.of(likeness).drawn_in * (points - points.mean(0))

    inwards = drawn_in(0.5)

    def take(kind):
        page.locator(f"#how input[value={kind}]").check()
        return samples(page)

    # New members: each number between those of the images, but not both by the same weights: some leave the triangle.
    member = take("local")
    assert (member - paper).abs().max() > 0.1 and torch.equal(member, samples(page))
    go(page, "0")
    member = samples(page)
    assert (member >= inwards.amin(0) - 1e-9).all() and (member <= inwards.amax(0) + 1e-9).all()
    ones = torch.ones(1, 3, dtype=torch.float64)
    weights = torch.linalg.solve(torch.cat([inwards.T, ones]), torch.cat([member.T, ones[:, :1].expand(1, 90)]))
    assert weights.min() < -0.05 and ((member - inwards[:, None]).abs().amax(2) > 1e-3).all()
    # The ellipse is that of the draws.
    added = member - points.mean(0)
    axes = sorted(v**2 for v in ellipse(page, 1)[2:])
    assert axes == pytest.approx(torch.linalg.eigvalsh(added.T @ added / 90).tolist(), abs=1e-6)
    # Of one image each, draws are the images, drawn in; without evidence they are 0.6 of the prior's.
    move(page, "how-likeness", 100)
    apart = torch.cdist(samples(page), drawn_in(1.0), compute_mode="donot_use_mm_for_euclid_dist")
    assert apart.min(1).values.max() < 1e-9 and set(apart.argmin(1).tolist()) == {0, 1, 2}
    go(page, "Infinity")
    cool = samples(page)
    take("posterior")
    assert torch.allclose(cool, 0.6 * samples(page), atol=1e-9)
    page.click("#how [data-do=reset]")
    # Blends of all are the paper's, exactly; of one, each draw is near a piece.
    blend = take("bootstrap")
    assert (blend - paper).abs().max() > 0.1
    move(page, "how-images", 3)
    assert torch.allclose(samples(page), paper, atol=1e-9)
    move(page, "how-images", 1)
    slide(page, "how-lam", 0.01)
    far = torch.cdist(samples(page), evidence(page)).min(1).values
    assert far.max() < 0.6
    page.click("#how [data-do=reset]")
    assert torch.allclose(samples(page), paper, atol=1e-9)


def test_old_links_open_the_inner_tabs_and_a_click_says_so_in_the_address(page, served_small):
    page.goto(served_small + "/?tab=classify")
    page.locator("#classify-add").wait_for()
    assert page.locator("[role=tab][aria-selected=true]").filter(visible=True).all_inner_texts()[:2] == [
        "Behind it",
        "Tell apart",
    ]
    page.get_by_role("tab", name="How far it goes").click()
    page.wait_for_url(re.compile(r"tab=far$"))
    page.locator("#far section").last.scroll_into_view_if_needed()
    # Images, what the model draws, and what the page shows, of each set.
    page.wait_for_function("[...document.querySelectorAll('#far img')].filter(one => one.naturalWidth).length === 9")
    page.get_by_role("tab", name="About").click()
    assert "at most 60 minutes longer" in " ".join(page.inner_text("#about").split())
    page.get_by_role("tab", name="How far it goes").click()
    page.click("#far a[href$=neon_bar]")
    page.wait_for_url(re.compile("example=neon_bar"))
    says(page, "#evidence-status", "green bar")
