"""The Interpolate tab: in a real browser as a visitor uses it, and the code that it shows, run."""

import base64
import contextlib
import math
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.controls import Model
from demo.evidence_panel import NOT_KEPT
from demo.examples import example_sets
from demo.server.admission import CancelToken
from demo.server.state import Session
from demo.tabs.interpolate import PATHS, Interpolate, _State, link_to, recipe_of, steps_of, write
from transflow_core.evidence import Evidence
from transflow_core.images.output import read_png_metadata
from transflow_core.limits import LAM_RATIO_SLIDER
from transflow_core.posterior import Posterior, mixed

from ..helpers import by_bootstrap, by_posterior, frames
from .conftest import EXAMPLES, TINY, codes_run, done, same, saved, says, unfold

STATUS = "#interpolate-status"
SIZE = 400, 136  # of an animation of three draws, in pixels
PLAYED = """async src => {
    const video = document.createElement('video');
    video.muted = true; video.src = src; document.body.append(video);
    await video.play();
    await new Promise(done => video.ontimeupdate = () => video.currentTime > 0.2 && done());
    const found = [video.videoWidth, video.videoHeight, Math.round(video.duration * 12)];
    video.remove();
    return found;
}"""


def reset(page):
    """Bring a page that another test used to the state of a new one, with both sets."""
    page.evaluate("() => document.querySelectorAll('[data-testid=toast-close]').forEach(one => one.click())")
    choose(page, "linear")
    for elem_id, value in (("interpolate-steps", 8), ("interpolate-draws", 3), ("interpolate-seed", 0)):
        if page.input_value(f"#{elem_id} input[type=number]") != str(value):
            set_number(page, elem_id, value)
    page.check("#interpolate-method-auto input")
    for side, key, title in (("a", "greyscale", "A: Black & white"), ("b", "paintings", "B: Old masters")):
        if page.inner_text(f"#player .end-{side}") != title:
            pick(page, side, key)
    wait_ends(page, "Black & white", "Old masters")


def opened(page, url):
    """The tab with its first two sets, at rest: nothing plays for users who prefer less motion."""
    page.goto(url + "/?tab=interpolate")
    wait_ends(page, "Black & white", "Old masters")
    unfold(page, "For researchers")
    page.click("#interpolate-code > button")


@pytest.fixture
def tab_page(kept_page, served_small):
    """The tab with the tiny prior. The tests share the page."""
    return kept_page(lambda page: opened(page, served_small), reset)


def wait_ends(page, a, b):
    """Until the picture on the screen is that of these two, with all frames of the eight steps it starts with.

    When its strip alone is there, the status may still be what the picture before it said.
    """
    page.wait_for_function(
        """([a, b]) => document.querySelector('#player .end-a')?.innerText === 'A: ' + a
            && document.querySelector('#player .end-b')?.innerText === 'B: ' + b
            && document.querySelector('#scrubber').max === '28'""",
        arg=[a, b],
    )
    says(page, STATUS, "images in")


def wait_strip(page, words):
    page.wait_for_function("words => document.querySelector('#player .strip img')?.alt.includes(words)", arg=words)


def pick(page, side, key):
    page.click(f"#side-{side} [data-example={key}]")


def frame(page):
    return int(page.get_attribute("#player canvas", "data-frame"))


_PAINTED = "document.querySelector('#player canvas').toDataURL()"


def painted(page):
    return page.evaluate(_PAINTED)


def choose(page, path):
    page.get_by_label(PATHS[path], exact=True).check()


def set_number(page, elem_id, value):
    box = page.locator(f"#{elem_id} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def places(page):
    """Where both ends and the picture are, all within the window."""
    a, b, picture = (
        page.locator(name).bounding_box() for name in ("#interpolate-a", "#interpolate-b", "#player canvas")
    )
    assert abs(a["y"] - b["y"]) < 2 and a["x"] + a["width"] <= b["x"] + 1
    assert picture["y"] + picture["height"] <= page.viewport_size["height"]
    return a, b, picture


def test_on_a_phone_the_picture_is_below_both_ends(new_page, served_small):
    page = new_page(390, 844, touch=True)
    page.goto(f"{served_small}/?tab=interpolate&example=none")
    wait_ends(page, "Black & white", "Old masters")
    a, _, picture = places(page)
    assert picture["y"] > a["y"] + a["height"] - 1
    unfold(page, "For researchers")
    ticks = [box for one in page.locator("#lam-a .scale span").all() if (box := one.bounding_box())]
    assert len(ticks) > 3 and all(one["x"] + one["width"] < next["x"] for one, next in pairwise(ticks))


def test_it_opens_running_and_four_clicks_save_a_video_between_two_sets(new_page, served_small, tmp_path):
    page = new_page(1280, 720, motion=True)
    page.goto(served_small)
    page.wait_for_selector("#sheet .cells button")
    assert not page.locator("#interpolate-tab .card").count()  # nothing is read before the tab is opened
    page.get_by_role("tab", name="Interpolate").click()
    wait_ends(page, "Black & white", "Old masters")
    page.wait_for_function("document.querySelector('#player .play').ariaLabel === 'Pause'")
    there_and_back = [f"Number(document.querySelector('#player canvas').dataset.frame) {at}" for at in ("> 20", "< 5")]
    for place in (*there_and_back, *there_and_back):
        page.wait_for_function(place)
    page.get_by_role("tab", name="Studio").click()
    frames(page, 5)
    page.get_by_role("tab", name="Interpolate").click()
    for place in there_and_back:  # it still runs
        page.wait_for_function(place)
    a, b, picture = places(page)
    assert a["x"] < picture["x"] < b["x"]
    pick(page, "a", "sepia")
    pick(page, "b", "drawings")
    wait_ends(page, "Sepia", "Drawings")
    file = saved(page, "#interpolate-get-mp4", tmp_path)
    assert page.evaluate(PLAYED, "data:video/mp4;base64," + base64.b64encode(file.read_bytes()).decode()) == [*SIZE, 56]
    # It is a picture that moves: it can be stopped.
    page.click("#player .play")
    at = frame(page)
    frames(page)
    assert frame(page) == at and page.get_attribute("#player .play", "aria-label") == "Play"
    # Later visits leave what is there.
    for side in "ab":
        page.click(f"#side-{side}-clear")
    page.wait_for_selector("#player .hint", state="visible")
    page.get_by_role("tab", name="Behind it").click()
    page.get_by_role("tab", name="Interpolate").click()
    frames(page, 30)
    assert not page.locator("#interpolate-tab .card").count()


def test_two_examples_make_a_strip_and_the_scrubber_needs_no_server(tab_page):
    page = tab_page
    page.click("#side-b-clear")
    wait_ends(page, "Black & white", "the model")  # an end without images
    pick(page, "b", "drawings")
    wait_ends(page, "Black & white", "Drawings")
    strip = page.locator("#player .strip img")
    assert strip.count() == 1 and "3 draws at 8 steps from Black & white to Drawings" in strip.get_attribute("alt")
    frames(page, 30)
    assert page.get_attribute("#player .play", "aria-label") == "Play"
    page.focus("#scrubber")
    page.keyboard.press("Home")

    requests = []
    page.on("request", lambda request: requests.append(request.url))
    pictures = [painted(page)]
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        pictures.append(painted(page))  # no waiting: the frame is there as soon as the key was taken
    assert frame(page) == 3 and page.inner_text("#player output") == "11 %"
    page.keyboard.press("End")
    pictures.append(painted(page))
    assert frame(page) == 28 and len(set(pictures)) == 5
    assert "Drawings" in page.get_attribute("#scrubber", "aria-valuetext")
    assert not [url for url in requests if not url.startswith(("data:", "blob:"))]
    page.click("#player .link")
    page.get_by_text("Copied").wait_for()
    assert "a=greyscale&b=drawings" in page.evaluate("navigator.clipboard.readText()")
    # Without images there is nothing to run or to save.
    for side in "ab":
        page.click(f"#side-{side}-clear")
    page.wait_for_selector("#player .hint", state="visible")
    assert page.is_disabled("#scrubber") and page.is_disabled("#player .link")
    says(page, STATUS, "Add photos to A or B first")
    says(page, "#side-a-status", "No images: the model itself")
    page.wait_for_function("!/greyscale|drawings/.test(location.search)")  # else a reload would bring them back
    page.click("#interpolate-get-png")
    page.get_by_text("There is nothing to save yet").wait_for()
    page.click("#interpolate-run")
    says(page, STATUS, "Add photos to A or B first")


def test_paths_and_steps(tab_page):
    page = tab_page
    choose(page, "direct")
    wait_strip(page, "Direct: 1 draw at 8 steps")
    page.get_by_text("From one face to one other.").wait_for()
    choose(page, "wasserstein")
    wait_strip(page, "Wasserstein: 3 draws at 8 steps")
    choose(page, "linear")
    wait_ends(page, "Black & white", "Old masters")
    # The position stays.
    page.focus("#scrubber")
    page.keyboard.press("End")
    set_number(page, "interpolate-steps", 5)
    wait_strip(page, "at 5 steps")
    wait_ends(page, "Black & white", "Old masters")
    assert page.inner_text("#player output") == "100 %"
    before = painted(page)
    set_number(page, "interpolate-seed", 7)
    page.wait_for_function(f"before => {_PAINTED} !== before", arg=before)  # a sprite is painted once it is decoded


def test_stop_cancels_and_keeps_the_result(tab_page, hold, monkeypatch):
    page = tab_page
    monkeypatch.setattr("demo.controls.QUICK", 0)
    set_number(page, "interpolate-steps", 24)
    wait_strip(page, "24 steps")
    says(page, STATUS, "images in")
    batch = hold("call", which=lambda number: number > 0)
    choose(page, "wasserstein")
    page.wait_for_selector('#interpolate-status progress[max="72"]')
    page.click("#interpolate-stop")
    says(page, STATUS, "Stopped after")
    done, total = map(int, re.findall(r"\d+", page.inner_text(STATUS)))
    assert done < total == 72
    page.wait_for_selector("#interpolate-stop", state="hidden")
    assert page.get_attribute("#player .strip img", "alt").startswith("Posterior")
    batch.go_on.set()
    page.click("#interpolate-run")
    wait_strip(page, "Wasserstein")
    says(page, STATUS, "images in")


def test_downloads_are_what_the_page_shows_and_a_saved_posterior_is_an_end(tab_page, tmp_path):
    page = tab_page
    page.click("#interpolate-method-kind input[value=posterior]")
    page.wait_for_url(re.compile("lam_ratio=0.5"))
    png, webp, gif, a, b = (
        saved(page, f"#interpolate-get-{kind}", tmp_path) for kind in ("png", "webp", "gif", "a", "b")
    )
    texts = {"a": "Black & white", "b": "Old masters", "lam_ratio": "0.5", "steps": "8", "recipe": "interpolate"}
    assert read_png_metadata(png).items() >= texts.items()
    for path in (webp, gif):
        with Image.open(path) as image:
            assert 20 < image.n_frames <= 56 and image.size == SIZE  # 29 there, 27 back; equal ones may be one
    assert [Posterior.load(file).m for file in (a, b)] == [18, 21]
    says(page, "#interpolate-python", "tfc.Interpolate(")
    says(page, "#interpolate-shell", "transflow interpolate greyscale paintings")
    # Own files are in no link.
    Posterior.condition(torch.zeros(2, 768), lam_ratio=0.5).save(tmp_path / "mine.safetensors")
    page.set_input_files("#side-a-files input[type=file]", str(tmp_path / "mine.safetensors"))
    wait_ends(page, "mine.safetensors", "Old masters")
    assert page.is_disabled("#player .link") and "not in a link" in page.get_attribute("#player .link", "title")
    choose(page, "direct")
    wait_strip(page, "Direct: 1 draw at 8 steps from mine.safetensors")


# Without a browser: settings, paths, and the code.


@pytest.fixture(scope="module")
def engine(engines):
    return engines.get(TINY)


@pytest.fixture(scope="module")
def tab(engines):
    with gr.Blocks():
        return Interpolate(Model(engines, gr.Textbox(), []), [])


def evidence_of(engine, *files, example="", weight=1.0):
    evidence = engine.read(files)
    evidence = evidence.replace(0, weight=weight) if weight != 1 else evidence
    return replace(evidence, example=example, prior=TINY)


@pytest.mark.parametrize(
    ("more", "ends"),
    [("", ["greyscale", "paintings"]), ("&b=sketch&method=local&lam_ratio_a=inf&lam_ratio_b=0.02", ["", "sketch"])],
)
def test_a_link_to_the_tab_opens_it_whichever_tab_the_page_names_meanwhile(tab, more, ends):
    """Gradio says that the page's first tab was opened, sometimes after the tab of the address."""
    session = Session("somebody")
    session.query, session.tab = f"tab=interpolate{more}", "studio"
    *_, said, updates = done(tab._open(session, TINY))
    assert more or said[tab._working.output] == "Drawing the way from A to B …"
    assert [side.evidence(session).example for side in (tab.a, tab.b)] == ends
    assert all(updates[tab.own[f"lam_ratio_{end}"]]["value"] in LAM_RATIO_SLIDER for end in "ab"), (
        "else a slider breaks"
    )


def settings(path="linear", lam_a=0.02, lam_b=0.02, n=1, seed=0, temperature=1.0, **how):
    own = {"interpolation": path, "lam_ratio_a": lam_a, "lam_ratio_b": lam_b, "steps": 3, "n": n}
    return recipe_of(own | {"seed": seed, "temperature": temperature}, **how)


def made(tab, recipe, a, b):
    """What the page would show."""
    state = _State()
    for _ in tab._show(state, TINY, recipe, a, b, CancelToken()):
        pass
    return state.shown


def test_the_address_is_that_of_the_first_picture_already(tab, engine):
    a, b = (evidence_of(engine, *EXAMPLES[key][:2], example=key) for key in ("sepia", "sketch"))
    shown = next(
        one for one in tab._show(_State(), TINY, settings(seed=None), a, b, CancelToken()) if tab._player in one
    )
    assert "a=sepia&b=sketch" in shown[tab._address]["query"] and shown[tab._working.output], "what comes next"
    assert "&a=own&b=sketch" in link_to(settings(), replace(a, example=""), b)


def test_what_a_broken_line_took_is_drawn_when_it_is_asked_for_again(tab, engine):
    session, drawn = Session("somebody"), []
    for side, key in ((tab.a, "sepia"), (tab.b, "sketch")):
        session.evidence[side.panel] = evidence_of(engine, *EXAMPLES[key][:2], example=key)

    def run():
        return tab._run(session, TINY, "linear", 0.02, 0.02, 3, 1, 0, 1.0, True, "local", 0.5, 2)

    def breaks():
        raise ConnectionError

    with contextlib.closing(run()) as broken, pytest.raises(ConnectionError):
        done(broken, breaks)
    for _ in range(2):
        drawn.append(any(tab._player in updates for updates in done(run())))
    assert drawn == [True, False], "what is there is not drawn again"


def test_photos_that_a_link_does_not_have_are_said(tab, monkeypatch):
    said, session = [], Session("somebody")
    monkeypatch.setattr("demo.tabs.interpolate.warn", said.append)
    session.query = "tab=interpolate&a=own&b=sketch"
    done(tab._open(session, TINY))
    assert said == [f"A: {NOT_KEPT}"]


def ends(case, engine, folder):
    """A and B of one case; files that a person would have lie in `folder`."""
    keys = ("sepia", "cartoon")
    if case == "examples":
        return tuple(evidence_of(engine, *example_sets()[key].files, example=key) for key in keys)
    a, b = ([shutil.copy(file, folder / f"my {Path(file).name}") for file in EXAMPLES[key][:2]] for key in keys)
    a = evidence_of(engine, *a, weight=3.0 if case == "weights" else 1.0)
    if case == "saved":
        a.posterior(2.0).save(file := folder / "mine.safetensors")
        a = Evidence(prior=TINY, saved=Posterior.load(file), saved_name=file.name)
    return Evidence(prior=TINY) if case == "the prior" else a, evidence_of(engine, *b)


@pytest.mark.usefixtures("unsmoothed_sheets")
@pytest.mark.parametrize(
    ("case", "how"),
    [
        ("examples", {}),
        ("files", {"lam_b": 0.2, "path": "wasserstein", "seed": 3, "temperature": 0.7, "n": 2}),
        ("files", {"path": "direct"}),
        ("files", {"lam_a": 1.0, "method": by_posterior()}),
        ("the prior", {"lam_a": math.inf}),
        ("files", {"method": by_bootstrap(), "lam_a": 0.1, "lam_b": 0.2, "n": 2}),
        ("saved", {"lam_a": 0.3}),
        ("weights", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())) or "default",
)
def test_the_code_makes_the_same_picture(case, how, engines, engine, tab, few):
    recipe = settings(**how)
    a, b = ends(case, engine, few)
    shown = made(tab, recipe, a, b)
    session = Session("somebody")
    for letter in "ab":  # the code may need these downloads
        shutil.copy(write(letter, shown, session), few)
    with Image.open(write("webp", shown, session)) as image:
        animation = image.n_frames
    session.close()
    shutil.copy(engines._folder / TINY, TINY)
    for _ in codes_run(steps_of(recipe, a, b)):
        assert same("interpolation.png", shown.strip)
        with Image.open("interpolation.webp") as image:
            assert image.n_frames == animation
        for name in ("interpolation.png", "interpolation.webp"):
            Path(name).unlink()


def test_a_direct_path_begins_at_a_and_ends_at_b(engine, tab):
    a, b = evidence_of(engine, *EXAMPLES["sepia"][:3], weight=2.0), evidence_of(engine, *EXAMPLES["cartoon"][:2])
    shown = made(tab, settings("direct", n=4), a, b)
    assert len(shown.frames[0]) == 1
    for (frame,), side in ((shown.frames[0], a), (shown.frames[-1], b)):
        image = np.asarray(side[0].face.image).astype(int)
        assert np.abs(np.asarray(frame).astype(int) - image).max() <= 2
    assert shown.frames[14][0] == shown.rows[0][1]


def test_a_mix_of_a_and_b_is_shown_and_downloaded(tab_page, engines, tmp_path):
    page = tab_page
    for side, key in (("a", "sepia"), ("b", "cartoon")):
        page.set_input_files(f"#side-{side}-files input[type=file]", EXAMPLES[key][:3])
        says(page, f"#side-{side}-status", "3 pictures")
    page.get_by_label("A, and less like B").check()
    before = page.get_attribute("#mix-shown img", "src")
    page.press("#mix-share input[type=range]", "ArrowRight")
    page.wait_for_function("src => document.querySelector('#mix-shown img')?.src !== src", arg=before)
    file = saved(page, "#mix-get", tmp_path)
    engine = engines.get("tiny.safetensors")
    ends = [engine.posterior(EXAMPLES[key][:3]) for key in ("sepia", "cartoon")]
    found = engine.load_posterior(file)
    assert found.m == pytest.approx(0.65 * 3)
    torch.testing.assert_close(found.evidence_mean, mixed(*ends, "subtract", 0.35).evidence_mean, atol=1e-4, rtol=1e-4)
