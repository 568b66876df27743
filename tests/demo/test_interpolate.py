"""The Interpolate tab: in a real browser as a visitor uses it, and the code that it shows, run."""

import base64
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.examples import example_sets
from demo.server.state import Session
from demo.snippet import command_line, python_code
from demo.tabs.interpolate import (
    PATHS,
    Decoding,
    Interpolate,
    Result,
    paths_of,
    recipe_of,
    steps_of,
    strip_picture,
    write,
)
from transflow_core.engine import Cancelled, Engine
from transflow_core.evidence import Evidence
from transflow_core.images import read_png_metadata
from transflow_core.posterior import Covariance, Posterior, mixed

from ..helpers import ROOT, by_bootstrap, by_posterior, frames, make_tiny_prior
from .conftest import EXAMPLES, TINY, run_python, run_shell, same, saved, says, unfold

SIZE = 400, 136  # of an animation of three draws, in pixels


def opened(page, url, calm=True):
    """The tab, at rest: users who prefer less motion see no show at the first picture."""
    if calm:
        page.emulate_media(reduced_motion="reduce")
    page.goto(url + "/?tab=interpolate&example=none")
    page.wait_for_selector("#player canvas")
    return page


def reset(page):
    """Bring a page that another test used to the state of a new one."""
    page.click("#interpolate-stop", force=True)
    page.evaluate("() => document.querySelectorAll('[data-testid=toast-close]').forEach(one => one.click())")
    for side in "ab":
        page.click(f"#side-{side}-clear")
    choose(page, "linear")
    if page.locator("#interpolate-steps").is_visible():
        for elem_id, value in (("interpolate-steps", 8), ("interpolate-draws", 3), ("interpolate-seed", 0)):
            set_number(page, elem_id, value)
        page.check("#interpolate-method-auto input")
    page.wait_for_selector("#player .hint", state="visible")
    page.wait_for_function("!document.querySelector('#side-a-cards .card, #side-b-cards .card')")


@pytest.fixture
def tab_page(kept_page, served_small):
    """The tab with the tiny prior, without images. The tests share the page."""
    return kept_page(lambda page: opened(page, served_small), reset)


def unfolded(page, elem_id):
    if not page.locator(f"#{elem_id}").is_visible():
        unfold(page, "Settings: method")


def paper(page):
    """Draw as the paper does, and wait for the strip of it."""
    before = page.get_attribute("#player .strip img", "src")
    unfolded(page, "interpolate-method")
    page.click("#interpolate-method-kind input[value=posterior]")
    page.wait_for_function("src => document.querySelector('#player .strip img').src !== src", arg=before)
    wait_status(page, "images in")


def wait_status(page, words):
    says(page, "#interpolate-status", words)


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
    wait_status(page, "images in")


def pick(page, side, key):
    page.click(f"#side-{side} [data-example={key}]")


def tried(page):
    """The tab with the two example sets of its button."""
    page.click("#interpolate-try")
    wait_ends(page, "Greyscale", "Red hair")
    return page


def frame(page):
    return int(page.get_attribute("#player canvas", "data-frame"))


_PAINTED = "document.querySelector('#player canvas').toDataURL()"


def painted(page):
    return page.evaluate(_PAINTED)


def choose(page, method):
    page.get_by_label(PATHS[method], exact=True).check()


def set_number(page, elem_id, value):
    unfolded(page, elem_id)
    box = page.locator(f"#{elem_id} input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def test_two_examples_make_a_strip_and_the_scrubber_needs_no_server(tab_page, shot):
    page = tab_page
    assert "Add a few images to A and B" in page.inner_text("#player .hint") and page.is_disabled("#scrubber")
    pick(page, "a", "sepia")
    wait_ends(page, "Sepia", "the prior")  # an end without images is the model alone
    pick(page, "b", "cartoon")
    wait_ends(page, "Sepia", "Cartoon")
    strip = page.locator("#player .strip img")
    assert strip.count() == 1 and "3 draws at 8 steps from Sepia to Cartoon" in strip.get_attribute("alt")
    assert page.locator("#player .labels span").all_inner_texts()[::7] == ["0", "1"]
    assert int(page.get_attribute("#scrubber", "max")) == 28
    frames(page, 30)  # no show for users who prefer less motion
    assert frame(page) == 0 and page.get_attribute("#player .play", "aria-label") == "Play"

    requests = []
    page.on("request", lambda request: requests.append(request.url))
    pictures = [painted(page)]
    page.focus("#scrubber")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        pictures.append(painted(page))  # no waiting: the frame is there as soon as the key was taken
    assert frame(page) == 3 and page.inner_text("#player output") == "t = 0.11"
    page.keyboard.press("End")
    pictures.append(painted(page))
    assert frame(page) == 28 and len(set(pictures)) == 5
    assert "Cartoon" in page.get_attribute("#scrubber", "aria-valuetext")
    box = page.locator("#player .frame").bounding_box()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 10)
    assert frame(page) == 14
    assert not [url for url in requests if not url.startswith(("data:", "blob:"))]
    shot(page, "interpolate_two_examples")
    # Without images there is nothing to run or to save.
    for side in "ab":
        page.click(f"#side-{side}-clear")
    page.wait_for_selector("#player .hint", state="visible")
    page.click("#interpolate-get-png")
    page.get_by_text("There is nothing to save yet").wait_for()
    page.click("#interpolate-run")
    wait_status(page, "Add images to A or B first")


def test_the_show_plays_once_and_play_can_be_paused(page, served_small):
    opened(page, served_small, calm=False)
    page.evaluate(
        """() => {
            const canvas = document.querySelector('#player canvas');
            window.seen = new Set();
            new MutationObserver(() => window.seen.add(canvas.dataset.frame)).observe(canvas, {attributes: true});
        }"""
    )
    page.click("#interpolate-try")
    wait_ends(page, "Greyscale", "Red hair")
    page.wait_for_function("document.querySelector('#player .play').ariaLabel === 'Play'")  # it came to rest by itself
    assert page.evaluate("window.seen.size") > 4
    assert frame(page) == 0
    page.focus("#player .play")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#player canvas').dataset.frame > 3")
    page.click("#player .play")
    at = frame(page)
    frames(page)
    assert frame(page) == at and page.get_attribute("#player .play", "aria-label") == "Play"


def test_paths(tab_page, shot):
    page = tried(tab_page)
    paper(page)  # a covariance that is one number
    choose(page, "wasserstein")
    caption = page.locator("#player figcaption")
    caption.get_by_text("the two paths are one").wait_for()  # one λ on both sides
    page.focus("#lam-b-range")
    page.keyboard.press("Home")
    page.wait_for_function("!document.querySelector('#player figcaption').innerText.includes('the two paths are one')")
    choose(page, "direct")
    caption.get_by_text("greyscale_00.png and red_hair_00.png").wait_for()
    assert page.get_attribute("#player .strip img", "alt").startswith("Direct: 1 draw at 8 steps")
    choose(page, "compare")
    page.wait_for_function("document.querySelectorAll('#player .strip').length === 3")
    wait_status(page, "images in")
    assert "are the same" not in page.inner_text("#interpolate-status")
    assert page.locator("#player .cell-names span").all_inner_texts() == ["Posterior", "Wasserstein", "Direct"]
    page.focus("#scrubber")
    for _ in range(14):
        page.keyboard.press("ArrowRight")
    shot(page, "interpolate_compare")


def test_another_number_of_steps_keeps_the_position(tab_page):
    page = tried(tab_page)
    page.focus("#scrubber")
    page.keyboard.press("End")
    set_number(page, "interpolate-steps", 5)
    page.wait_for_function("document.querySelectorAll('#player .labels span').length === 5")
    wait_status(page, "5 steps, 29 frames")
    assert page.inner_text("#player output") == "t = 1.00"
    before = painted(page)
    set_number(page, "interpolate-seed", 7)
    wait_status(page, "seed 7")
    page.wait_for_function(f"before => {_PAINTED} !== before", arg=before)  # a sprite is painted once it is decoded


def test_stop_cancels_and_keeps_the_result(tab_page, hold, monkeypatch):
    page = tried(tab_page)
    monkeypatch.setattr("demo.tabs.interpolate._QUICK", 0)
    set_number(page, "interpolate-draws", 6)
    set_number(page, "interpolate-steps", 24)
    says(page, "#interpolate-status", "24 steps")
    decode = hold("decode", which=lambda number: number > 0)
    choose(page, "compare")
    page.wait_for_selector('#interpolate-status progress[max="312"]')
    page.click("#interpolate-stop")
    wait_status(page, "Stopped after")
    done, total = map(int, re.findall(r"\d+", page.inner_text("#interpolate-status")))
    assert done < total == 312
    assert page.is_disabled("#interpolate-stop")
    assert page.locator("#player .strip img").count() == 1
    decode.go_on.set()
    page.click("#interpolate-run")
    page.wait_for_function("document.querySelectorAll('#player .strip').length === 3")
    wait_status(page, "images in")


def test_downloads_are_what_the_page_shows(tab_page, tmp_path, shot):
    page = tried(tab_page)
    paper(page)
    png, webp, gif, mp4, a, b = (
        saved(page, f"#interpolate-get-{kind}", tmp_path) for kind in ("png", "webp", "gif", "mp4", "a", "b")
    )
    assert read_png_metadata(png).items() >= {"a": "Greyscale", "b": "Red hair", "lam_ratio": "0.5"}.items()
    for path in (webp, gif):
        with Image.open(path) as image:
            assert 20 < image.n_frames <= 56 and image.size == SIZE  # 29 there, 27 back; equal ones may be one
    assert Posterior.load(a).m == Posterior.load(b).m == 18
    played = page.evaluate(
        """async src => {
            const video = document.createElement('video');
            video.muted = true; video.src = src; document.body.append(video);
            await video.play();
            await new Promise(done => video.ontimeupdate = () => video.currentTime > 0.2 && done());
            const found = [video.videoWidth, video.videoHeight, Math.round(video.duration * 12)];
            video.remove();
            return found;
        }""",
        "data:video/mp4;base64," + base64.b64encode(mp4.read_bytes()).decode(),
    )
    assert played == [*SIZE, 56]
    page.click("#interpolate-code button")
    says(page, "#interpolate-python", "tfc.Interpolate(")
    says(page, "#interpolate-shell", "transflow interpolate assets/examples/greyscale assets/examples/red_hair")
    shot(page, "interpolate_code")


def test_a_saved_posterior_is_an_end_but_no_image(tab_page, tmp_path):
    page = tab_page
    Posterior.condition(torch.zeros(2, 768), lam_ratio=0.5).save(tmp_path / "mine.safetensors")
    page.set_input_files("#side-a-files input[type=file]", str(tmp_path / "mine.safetensors"))
    pick(page, "b", "sketch")
    wait_ends(page, "mine.safetensors", "Pencil sketch")
    choose(page, "direct")
    wait_status(page, "A is a saved posterior without images")
    page.click("#side-a-clear")
    wait_status(page, "Add one to A")


# Without a browser: settings, paths, and the code.


@pytest.fixture(scope="module")
def engine(engines):
    return engines.get(TINY)


def evidence_of(engine, *files, example="", weight=1.0):
    evidence = engine.read(files)
    evidence = evidence.replace(0, weight=weight) if weight != 1 else evidence
    return replace(evidence, example=example, prior=TINY)


def settings(path="linear", lam_a=0.02, lam_b=0.02, steps=3, n=1, seed=0, temperature=1.0, **how):
    return path, recipe_of(path, lam_a, lam_b, steps, n, seed, temperature, **how)


def made(engine, path, recipe, a, b):
    """What the page would show, with all frames."""
    shown, _ = paths_of(path, recipe, a, b, engine)
    decoding = Decoding(engine, threading.Event(), recipe, shown)
    for _ in (*decoding.strips(), *decoding.inner_frames()):
        pass
    assert decoding.done == decoding.total
    return decoding.result({"prior": "tiny", "fingerprint": engine.prior.fingerprint, "a": "A", "b": "B"})


def ends(case, engine, folder):
    """A and B of one case; files that a person would have lie in `folder`."""
    for key in ("sepia", "cartoon"):
        for index in (0, 1):
            shutil.copy(EXAMPLES[key][index], folder / f"{key} {index}.png")
    b = evidence_of(engine, str(folder / "cartoon 0.png"), str(folder / "cartoon 1.png"))
    match case:
        case "examples":
            return tuple(evidence_of(engine, *example_sets()[key].files, example=key) for key in ("sepia", "cartoon"))
        case "files":
            return evidence_of(engine, str(folder / "sepia 0.png")), b
        case "the prior":
            return Evidence(prior=TINY), b
        case "saved":
            evidence_of(engine, str(folder / "sepia 0.png")).posterior(2.0).save(folder / "mine.safetensors")
            return Evidence(
                prior=TINY, saved=Posterior.load(folder / "mine.safetensors"), saved_name="mine.safetensors"
            ), b
        case "weights":
            return evidence_of(engine, str(folder / "sepia 0.png"), str(folder / "sepia 1.png"), weight=3.0), b


@pytest.mark.usefixtures("unsmoothed_sheets")
@pytest.mark.parametrize(
    ("case", "how"),
    [
        ("examples", {}),
        ("files", {"lam_b": 0.2, "path": "wasserstein"}),
        ("examples", {"path": "direct"}),
        ("files", {"lam_a": 1.0, "path": "compare"}),
        ("files", {"seed": 3, "temperature": 0.7, "n": 2}),
        ("the prior", {}),
        ("examples", {"method": by_bootstrap(), "lam_a": 0.1, "lam_b": 0.2, "n": 2}),
        ("files", {"method": by_posterior(), "lam_a": 0.5, "lam_b": 0.5}),
        ("saved", {"lam_a": 0.3}),
        ("weights", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())) or "default",
)
def test_the_code_makes_the_same_picture(case, how, engines, engine, tmp_path, monkeypatch):
    path, recipe = settings(**how)
    a, b = ends(case, engine, tmp_path)
    result = made(engine, path, recipe, a, b)
    session = Session("somebody")
    for letter in "ab":  # the code may need these downloads
        shutil.copy(write(letter, result, session), tmp_path)
    with Image.open(write("webp", result, session)) as image:
        animation = image.n_frames
    session.close()
    monkeypatch.chdir(tmp_path)
    Path("assets").symlink_to(ROOT / "assets")
    shutil.copy(engines._folder / TINY, TINY)
    code = steps_of(recipe, result.paths, a, b)
    for run, text in ((run_python, python_code(*code)), (run_shell, command_line(*code))):
        run(text)
        for path, images in zip(result.paths, result.strips, strict=True):
            name = "interpolation.png" if len(result.paths) == 1 else f"interpolation_{path.key}.png"
            assert same(tmp_path / name, strip_picture(Result([path], [images], result.frames, {})))
            (tmp_path / name).unlink()
        if len(result.paths) == 1:
            with Image.open("interpolation.webp") as image:
                assert image.n_frames == animation
            Path("interpolation.webp").unlink()


def test_the_status_of_a_run_stays_after_an_equal_request(engines):
    """On a slow browser the run comes before the end of the click that requested it. The run that follows the click is
    equal to it, and shows its status again."""
    with gr.Blocks():
        prior = gr.Textbox()
        tab = Interpolate(engines, prior, [], [])
    numbers = [tab.path, tab.lam_a, tab.lam_b, tab.steps, tab.n, tab.seed, tab.temperature]
    values = [component.value for component in [*numbers, *tab.method.inputs]]
    session = Session("somebody")
    texts = [step[tab._status] for step in tab._use_examples(session, "tiny.safetensors") if tab._status in step]
    assert all("Reading" in text for text in texts) and len(texts) == 2
    first, second = (list(tab._run(session, "tiny.safetensors", *values)) for _ in range(2))
    assert "images in" in first[-1][tab._status]
    assert second == [{tab._status: first[-1][tab._status]}]
    session.close()


@pytest.mark.parametrize("steps", range(3, 25))
def test_each_step_is_a_frame(steps):
    decoding = Decoding(None, None, settings(steps=steps)[1], [])
    assert 20 <= decoding.frames <= 37
    places = [i / (decoding.frames - 1) for i in range(decoding.frames)]
    assert places[:: decoding.stride] == [i / (steps - 1) for i in range(steps)]


def test_frames_begin_at_a_and_end_at_b(engine):
    a, b = evidence_of(engine, EXAMPLES["sepia"][0]), evidence_of(engine, EXAMPLES["cartoon"][0])
    result = made(engine, *settings("direct"), a, b)
    for frame, side in ((result.frames[0, 0], a), (result.frames[-1, 0], b)):
        image = np.asarray(side[0].face.image).astype(int)
        assert np.abs(frame.astype(int) - image).max() <= 2
    assert np.array_equal(result.frames[14, 0], result.strips[0][1, 0])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (("sideways", 1, 1, 8, 3, 0, 1), "path must be one of"),
        (("linear", 1, 1, None, 3, 0, 1), "steps is None"),
        (("linear", "x", 1, 8, 3, 0, 1), "lam_ratio_a is 'x'"),
        (("linear", 1, -1, 8, 3, 0, 1), "lam_ratio_b is -1; the least is 0"),
        (("direct", 1, 1, 25, 3, 0, 1), "steps is 25; the most is 24"),
        (("direct", 1, 1, 8, 7, 0, 1), "n is 7; the most is 6"),
        (("direct", 1, 1, 8, 3, -3, 1), "seed is -3; the least is 0"),
        (("direct", 1, 1, 8, 3, 0, 9), "temperature is 9; the most is 1.5"),
    ],
)
def test_what_is_out_of_range_is_refused_in_a_sentence(values, text):
    with pytest.raises(ValueError, match=text):
        recipe_of(*values)


def test_impossible_paths_are_refused():
    """Of a saved posterior whose covariance has a low-rank part on a general diagonal."""
    engine = Engine(make_tiny_prior())
    likelihood = Covariance(torch.linspace(0.5, 1.5, engine.prior.dim), torch.ones(engine.prior.dim, 1))
    saved = Posterior.condition(torch.zeros(1, engine.prior.dim), 0.5, likelihood=likelihood)
    sides = Evidence(prior="x", saved=saved, saved_name="x"), Evidence(prior="x")
    for path, text in (("wasserstein", "low-rank part"), ("direct", "A is a saved posterior")):
        with pytest.raises(ValueError, match=text):
            paths_of(*settings(path), *sides, engine)
    shown, notes = paths_of(*settings("compare"), *sides, engine)
    assert [path.key for path in shown] == ["linear"] and len(notes) == 2
    assert notes[0].startswith("Wasserstein is not shown") and notes[1].startswith("Direct is not shown")


def test_two_strips_that_are_the_same_are_explained(engine):
    a, b = evidence_of(engine, EXAMPLES["sepia"][0]), evidence_of(engine, EXAMPLES["cartoon"][0])
    for lam_b, equal in ((0.5, True), (0.4, False)):
        shown, _ = paths_of(*settings("compare", 0.5, lam_b, method=by_posterior()), a, b, engine)
        assert ["the two paths are one" in path.caption for path in shown] == [False, equal, False]


def test_a_run_ends_at_its_next_batch(engine):
    (path, recipe), cancel, model = settings(steps=24, n=2), threading.Event(), Evidence(prior=TINY)
    decoding = Decoding(engine, cancel, recipe, paths_of(path, recipe, model, model, engine)[0])
    running = decoding.strips()
    next(running)
    cancel.set()
    with pytest.raises(Cancelled):
        next(running)
    assert decoding.done == engine.batch_size


def test_a_mix_of_a_and_b_is_shown_and_downloaded(tab_page, engines, tmp_path):
    page = tab_page
    for side, key in (("a", "sepia"), ("b", "cartoon")):
        page.set_input_files(f"#side-{side}-files input[type=file]", EXAMPLES[key][:3])
        says(page, f"#side-{side}-status", "m = 3")
    page.get_by_text("A and B in one posterior").click()
    page.get_by_label("A, and less like B").check()
    page.wait_for_selector("#mix-shown img")
    file = saved(page, "#mix-get", tmp_path)
    engine = engines.get("tiny.safetensors")
    ends = [engine.posterior(EXAMPLES[key][:3]) for key in ("sepia", "cartoon")]
    found = engine.load_posterior(file)
    assert found.m == pytest.approx(0.7 * 3)
    torch.testing.assert_close(found.evidence_mean, mixed(*ends, "subtract", 0.3).evidence_mean, atol=1e-4, rtol=1e-4)
