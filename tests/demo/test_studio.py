"""The Studio tab as a visitor uses it, in a real browser."""

import base64
import io
import re
import shutil
import zipfile
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import expect

from demo import cards
from demo.controls import Model
from demo.server.admission import CancelToken
from demo.server.state import Session
from demo.tabs.preview_strip import Strip
from demo.tabs.studio import Studio
from demo.tabs.studio_results import DEFAULT, Request, View, draw, recipe_of
from transflow_core import Evidence, Posterior, Sample, recommend
from transflow_core.images.output import read_png_metadata
from transflow_core.posterior.methods import along
from transflow_core.views import from_metadata, to_python, to_shell

from ..helpers import TIMEOUT, frames
from .conftest import EXAMPLES, OTHER, TINY, choose_example, choose_prior, done, drag, opened, saved, says, unfold


def chosen(page, url, example):
    """Open the page with an example set, at rest: samples, files and sweep are there, and the address tells."""
    opened(page, url)
    choose_example(page, example)


def sheet(page):
    return page.get_attribute("#sheet img", "src")


def decoded(src):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(src.split(",", 1)[1]))).convert("RGB")).astype(int)


def status(page):
    return page.inner_text("#samples-status")


def wait_status(page, words):
    says(page, "#samples-status", words)


def wait_samples(page):
    """Wait for the samples of an example set: of ten images or more, unlike the few that a test drops."""
    page.wait_for_function("/m = [1-9][0-9]/.test(document.querySelector('#samples-status')?.innerText)")


def upload(page, files, used):
    """Drop files and wait until the samples are conditioned on `used` of them."""
    page.set_input_files("#evidence-files input[type=file]", files)
    page.wait_for_function("n => document.querySelectorAll('#evidence-cards .card').length >= n", arg=1)
    wait_status(page, f"m = {used} ")


def slide(page, start, end, steps=12, at="#lam-range"):
    """Drag a slider from one place of its track (0 to 1) to another, and leave the mouse down."""
    drag(page, at, (start, 0.5), (end, 0.5), steps)


def release(page):
    """Let λ go, and wait for samples, inner tab and address."""
    page.mouse.up()
    page.wait_for_url(re.compile(f"lam_ratio={slider(page):g}&"))


def another_sheet(page, before):
    page.wait_for_function("src => document.querySelector('#sheet img').src !== src", arg=before)


def same_sheet(page, before):
    page.wait_for_function("src => document.querySelector('#sheet img')?.src === src", arg=before)


def from_menu(page, selector, folder):
    """The file of an entry of the menu Save."""
    page.click("#sheet summary >> nth=0")
    return saved(page, selector, folder)


def code_says(page, selector, text):
    """Open the code of the samples, and wait for this text in it."""
    page.get_by_role("tab", name="Download").filter(visible=True).click()
    unfold(page, "The same as code")
    says(page, selector, text)


def wait_slider(page, value):
    """Wait until λ/m stands there, to two in a hundred."""
    page.wait_for_function(
        "at => Math.abs(document.querySelector('#lam-range').value - Math.log10(at)) < 0.0087", arg=value
    )


def slider(page):
    """λ/m where the slider stands, to the three digits that the page sends."""
    return float(page.evaluate("Number(Math.pow(10, document.querySelector('#lam-range').value).toPrecision(3))"))


def test_two_files_the_slider_and_the_numbers_with_the_shipped_model(page, served):
    opened(page, f"{served}/?example=none&prior=celeba64")
    before = sheet(page)
    assert "No images yet" in status(page)
    upload(page, EXAMPLES["greyscale"][:2], used=2)
    assert sheet(page) != before
    page.get_by_label("The paper's").click()
    page.wait_for_url(re.compile("method=posterior"))
    slide(page, 0.55, 0.1)
    page.mouse.up()
    wait_status(page, f"λ/m = {slider(page):g}")
    assert slider(page) < 0.05
    # Low λ: every sample is close to the mean of two grey faces.
    pixels = decoded(sheet(page))
    assert np.ptp(pixels, axis=-1).mean() < 12
    opened(page, f"{served}/?example=noise_bar&prior=celeba64")  # in no row, but its link opens
    assert page.locator("#evidence [data-example=noise_bar]").count() == 0
    # The paper's noisy occlusion: all of the images are outliers.
    assert "Most of them are very different" in page.inner_text("#evidence-status")
    assert page.locator("#evidence-cards .card.warning").count() == 0
    page.get_by_role("tab", name="Numbers").click()
    for name in ("λ/m", "‖μp‖²", "Σp", "KL", "32×32"):
        says(page, "#numbers", name)


@pytest.mark.parametrize("preview", [False, True])
def test_samples_of_a_set_that_ships_are_drawn_once_for_all_visitors(engines, hold, preview):
    engine, cancel, drawn = engines.get(TINY), CancelToken(), hold("sample", which=lambda number: False)
    own = engine.read(EXAMPLES["sepia"][:2])
    for evidence, times in ((replace(own, example="sepia"), 1), (Evidence(), 1), (own, 2)):
        before, request = drawn.calls, Request(evidence, recipe_of({"prior": TINY}))
        (first, *_), (again, *_) = (draw(request, engine, cancel, preview=preview) for _ in range(2))
        assert drawn.calls - before == times
        assert all(map(np.array_equal, first, again))


def test_a_preview_that_comes_late_does_not_blur_the_samples(studio, hold, monkeypatch):
    """The last preview of a drag, requested while an earlier one was drawn, runs after the slider was released."""
    page = studio
    monkeypatch.setattr(Strip, "missing", lambda *_: iter(()))  # previews come from the server until a strip is there
    choose_example(page, "red_hair")
    preview = hold("sample", preview=True)
    slide(page, 0.2, 0.9, steps=40)
    assert preview.begun.wait(TIMEOUT)
    page.mouse.up()
    preview.go_on.set()
    release(page)
    frames(page, 60)  # a preview that was still requested runs by now
    assert f"λ/m = {slider(page):g}," in status(page)
    shown = sheet(page)
    page.reload()
    wait_samples(page)
    same_sheet(page, shown)


def test_names_of_files_and_of_models_in_files_are_only_text(studio, tmp_path):
    page, name = studio, "<img src=x onerror=window.pwned=1>"
    shutil.copy(EXAMPLES["sepia"][0], tmp_path / f"{name}.png")
    upload(page, [str(tmp_path / f"{name}.png")], used=1)
    posterior = Posterior.condition(torch.ones(1, 768), 0.5, metadata={"prior": name, "fingerprint": "x"})
    posterior.save(tmp_path / "foreign.safetensors")
    page.set_input_files("#evidence-files input[type=file]", str(tmp_path / "foreign.safetensors"))
    page.get_by_text(f"was made with {name}").wait_for()
    assert page.evaluate("window.pwned") is None and page.locator("#evidence-cards img").count() == 1
    upload(page, EXAMPLES["sepia"][1:2], used=2)  # the refusal changed nothing


def test_the_newest_click_ends_the_older_ones(studio, engines, hold):
    page, reading = studio, hold("read_steps", which=lambda number: number == 0)
    engines.examples.clear()  # else a set that another test opened is there at once
    page.click("#evidence [data-example=greyscale]")
    assert reading.begun.wait(TIMEOUT)
    for key in ("red_hair", "drawings"):
        page.click(f"#evidence [data-example={key}]")
    page.wait_for_url(re.compile("example=drawings"))
    expect(page.locator("#evidence-cards img[alt*=drawings]")).to_have_count(24)
    assert reading.cancelled.is_set()
    wait_samples(page)


def test_visitors_neither_delay_one_another_nor_see_each_others_images(studio, new_page, served_small, hold):
    one, two = studio, opened(new_page(), served_small)
    first = hold("encode", which=lambda number: number == 0)
    one.set_input_files("#evidence-files input[type=file]", EXAMPLES["greyscale"][:2])
    assert first.begun.wait(TIMEOUT)
    upload(two, EXAMPLES["red_hair"][:3], used=3)
    slide(one, 0.5, 0.4)  # images that are being read delay not even the same visitor's slider
    release(one)
    first.go_on.set()
    wait_status(one, f"λ/m = {slider(one):g}, m = 2 ")
    assert "red_hair" not in one.inner_html("#evidence-cards")
    assert "greyscale" not in two.inner_html("#evidence-cards") and "m = 3 " in status(two)
    # A visitor who leaves cancels their requests.
    encode = hold("encode")
    two.set_input_files("#evidence-files input[type=file]", EXAMPLES["sepia"][:2])
    assert encode.begun.wait(TIMEOUT)
    two.close()
    assert encode.cancelled.wait(TIMEOUT)


def test_downloads_are_what_the_page_shows(studio, engines, tmp_path):
    page = studio
    page.click("#evidence [data-example=sketch]")
    wait_samples(page)
    code_says(page, "#shell", "sketch")
    picture, samples = (from_menu(page, f"#get-{kind}", tmp_path) for kind in ("sheet", "zip"))
    file = saved(page, "#get-posterior", tmp_path)
    recipe, posterior = from_metadata(read_png_metadata(picture)), Posterior.load(file)
    assert isinstance(recipe, Sample)
    looks = engines.get(TINY).prior.looks(posterior.latents)
    assert recipe.choices == recommend(posterior, looks).method
    shown = recipe.replace(prior=TINY)  # a file has the model's own name
    says(page, "#shell", to_shell(shown, [], "sheet.png").split(maxsplit=2)[2])
    says(page, "#python", to_python(shown))
    assert Sample.from_texts(posterior.metadata) == recipe
    with zipfile.ZipFile(samples) as archive:
        assert len(archive.namelist()) == 16
        assert Image.open(io.BytesIO(archive.read("sample_0000.png"))).size == (16, 16)
    assert posterior.m == 18
    # Dropped in again, it gives the same samples, and λ still moves.
    shown = sheet(page)
    page.click("#evidence-clear")
    wait_status(page, "No images yet")
    page.set_input_files("#evidence-files input[type=file]", str(file))
    wait_samples(page)
    same_sheet(page, shown)
    says(page, "#evidence-status", file.name)
    slide(page, 0.5, 0.2)
    page.mouse.up()
    another_sheet(page, shown)


def test_stop_cancels_reading(studio, hold):
    """The images that were read stay."""
    page = studio
    encode = hold("encode", which=lambda number: number > 0)
    page.set_input_files("#evidence-files input[type=file]", EXAMPLES["sepia"][:12])
    assert encode.begun.wait(TIMEOUT)
    stop = page.get_by_role("button", name="Stop")
    assert stop.bounding_box()["height"] < 44  # a button beside the status, not a block as tall as its lines
    stop.click()
    page.get_by_text("Images that were not read").wait_for()
    assert page.locator("#evidence-cards .card").count() < 12


def test_another_model_reads_the_images_again_and_delays_nothing(studio, hold):
    """Until they are read there are samples of the new model alone, and no error."""
    page = studio
    upload(page, EXAMPLES["sepia"][:2], used=2)
    encode = hold("encode")
    choose_prior(page, OTHER)
    page.get_by_role("tab", name="Numbers").click()
    page.focus("#lam-range")
    page.keyboard.press("ArrowRight")
    says(page, "#numbers", "3,072")
    wait_status(page, "No images yet")  # it may show "updating…" first
    assert page.locator("[data-testid=toast-body]").count() == 0
    encode.go_on.set()
    wait_status(page, "m = 2 ")
    assert page.locator("#evidence-cards .card").count() == 2
    unfold(page, "Advanced: one λ/m for each latent level")
    page.get_by_text("λ/m of level 8×8 (coarsest").wait_for()
    assert page.locator("#lam-1-range").is_visible() and page.locator("#lam-2-range").count() == 0


def test_the_method_is_chosen_for_the_evidence_until_the_user_moves_it(studio):
    page = studio
    choose_example(page, "sketch")
    assert page.is_checked("#method-auto input") and "Chosen for you" in page.inner_text("#method-reason")
    assert "new members of the set" in status(page) and not page.locator("#lam .band").is_visible()
    before = sheet(page)
    slide(page, 0.9, 0.1, at="#method-likeness-range")
    another_sheet(page, before)  # a preview
    page.mouse.up()
    page.wait_for_url(re.compile(r"method=local.*likeness=0(\.[01]\d?)?&"))  # where the user let go
    page.wait_for_function("!document.querySelector('#method-reason').innerText.includes('Chosen for you')")
    assert not page.is_checked("#method-auto input")
    page.click("#evidence [data-example=sepia]")  # other evidence leaves it alone
    page.wait_for_url(re.compile("method=local.*example=sepia"))
    page.click("#method-auto input")
    page.wait_for_url(lambda url: "example=sepia" in url and "method" not in url)
    says(page, "#method-reason", "Chosen for you")


def test_lam_is_that_of_the_slider_that_was_moved_last(studio):
    page = studio
    choose_example(page, "sketch")
    unfold(page, "Advanced: one λ/m for each latent level")
    slide(page, 0.3, 0.8, at="#lam-1-range")
    page.mouse.up()
    page.wait_for_url(re.compile(r"lam_ratio=[\d.]+,[\d.]+&"))
    assert page.is_checked("#by-level input")
    slide(page, 0.5, 0.2)
    release(page)
    assert not page.is_checked("#by-level input")
    level = page.locator("#lam-1-range")
    expect(level).to_have_js_property("value", page.locator("#lam-range").input_value())


def test_the_sweep_and_the_numbers_say_what_they_leave_out_and_take(page, served_small):
    opened(page, f"{served_small}/?example=greyscale&method=posterior&lam_ratio=0.5&temperature=0")
    page.get_by_role("tab", name="Numbers").click()
    row = page.locator("#numbers tr", has_text="samples: variance")
    expect(row.locator("td")).to_have_text("0.0000")
    opened(page, f"{served_small}/?example=greyscale&style=prior")
    page.get_by_role("tab", name="Sweep").click()
    says(page, "#sweep", "Without “More like this”")


def test_what_is_moved_while_an_answer_is_on_its_way_stays(page, served_small):
    """Also on a slow line, where that answer sets it to another value a moment later."""
    chosen(page, served_small, "greyscale")
    line = {"offline": False, "latency": 300, "downloadThroughput": 10**6, "uploadThroughput": 10**6}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)
    for control, address in (("#method-auto input", "method=local"), ("#seed input", "seed=5")):
        page.evaluate(RESET_AND_MOVE_JS, control)
        page.wait_for_url(re.compile(address))
        field = page.locator(control)
        assert not field.is_checked() if "auto" in control else field.input_value() == "5"


def test_the_method_changes_the_samples_and_comes_back_on_reload(page, served_small):
    chosen(page, served_small, "greyscale")
    sheets, depth = [sheet(page)], page.evaluate("history.state.depth")
    page.get_by_label("The paper's").click()  # one click away
    page.wait_for_url(re.compile("method=posterior&lam_ratio=0.5"))
    assert page.evaluate("history.state.depth") == depth + 1  # no state with the λ/m of before
    assert page.locator("#lam .band").is_visible() and not page.locator("#method-likeness").is_visible()
    assert "0.50 (recommended)" in page.inner_text("#lam")
    sheets.append(sheet(page))
    page.get_by_label("Blends of a few").click()
    page.wait_for_url(re.compile("method=bootstrap.*images_per_sample=2&"))
    sheets.append(sheet(page))
    assert len(set(sheets)) == 3
    code_says(page, "#shell", "--images-per-sample 2")
    assert page.locator("#shell .cm-scroller").bounding_box()["height"] < 120  # as tall as its few lines
    code_says(page, "#python", "method='bootstrap'")
    page.reload()
    wait_status(page, "blends of a few, 2 images each")
    wait_samples(page)
    expect(page.locator("#method-auto input")).not_to_be_checked()
    assert sheet(page) == sheets[-1]
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_selector("#sweep img")
    assert "images per sample from 1 to 18" in page.get_attribute("#sweep img", "alt")
    page.get_by_role("tab", name="Numbers").click()
    says(page, "#numbers", "of 16")
    assert "blends of a few, 2 images each" in page.inner_text("#numbers")
    page.click("#reset")
    wait_status(page, "new members of the set")
    assert page.is_checked("#method-auto input")


def test_a_number_out_of_range_becomes_the_limit(page, served_small):
    chosen(page, served_small, "sepia")
    field = page.locator("#number input")
    for typed, limit in (("5000", "64"), ("0", "1")):
        field.fill(typed)
        expect(field).to_have_value(limit)
        assert field.evaluate("field => field.validationMessage") == "From 1 to 64."
    wait_status(page, "1 sample in")
    field.fill("2")
    wait_status(page, "2 samples in")
    assert field.evaluate("field => field.validationMessage") == ""
    page.fill("#seed input", "7")
    wait_status(page, "seed 7")
    page.fill("#seed input", "")
    wait_status(page, "seed 0")
    assert page.locator(".toast-body").count() == 0


def test_a_set_of_the_row_is_not_said_to_look_broken(engines, monkeypatch):
    monkeypatch.setattr(cards, "mostly_outliers", lambda evidence: True)
    evidence = engines.get(TINY).read(EXAMPLES["red_hair"][:2])
    said = {example: cards.summary(replace(evidence, example=example)) for example in ("", "noise_bar", "red_hair")}
    assert [("look broken" in text) for text in said.values()] == [True, True, False]
    assert "copper hair" in said["red_hair"]


RESET_AND_MOVE_JS = """control => {
  document.querySelector('#reset').click();
  const field = document.querySelector(control);
  setTimeout(() => {
    if (field.type === 'checkbox') field.click();
    else { field.value = 5; field.dispatchEvent(new Event('input', {bubbles: true})); }
  }, 50);
}"""


@pytest.fixture(scope="module")
def tab(engines):
    """The tab alone, for tests without a browser."""
    with gr.Blocks():
        return Studio(Model(engines, gr.Textbox(TINY), []), [], gr.Column())


@pytest.mark.parametrize(
    "query", ["lam=nan", "t=hot", "n=1e99", "seed=-5", "manner=mine", "likeness=x", "structure=nowhere"]
)
def test_an_invalid_address_opens_with_the_defaults(tab, query):
    session = Session("somebody")
    session.query = f"{query}&style_levels=1&example=../../etc"
    opened = done(tab._open(session, TINY))[-1]
    assert not tab._panel.evidence(session).ready and opened[tab._method.kind] == "local"
    for name in ("n", "seed", "temperature", "style_levels"):
        assert opened[tab._drawing[name]] == getattr(DEFAULT, name)


def test_the_window_to_share_says_so_where_there_are_no_samples_yet(tab):
    (answer,) = done(tab._share(Session("somebody"), {"asked": 3}))
    assert answer[tab._card] == {"asked": 3, "text": "No samples yet. Share them when they are drawn."}


def values_of(tab):
    """The first values of the tab's controls."""
    return {one: one.value for one in tab._inputs}


def chosen_anew(tab, session):
    """The controls that are set since the evidence may be another one."""
    return tab._choose(session, TINY, values_of(tab), changed=True)


def test_no_method_is_chosen_in_the_place_of_that_of_an_address(tab):
    """Gradio says at any moment that the page's first tab was opened: then "choose for me" is still on in the page."""
    session, meanwhile = Session("somebody"), []
    session.query = "method=posterior&example=sepia"
    done(tab._open(session, TINY), between=lambda: meanwhile.append(chosen_anew(tab, session)))
    assert meanwhile and not any(meanwhile) and not chosen_anew(tab, session)
    assert tab._choose(session, TINY, values_of(tab))  # by the user, afterwards


def test_what_the_address_of_another_tab_asks_for_is_not_for_the_studio(tab):
    for address, n in (("n=3&example=none", 3), ("tab=interpolate&n=3&method=posterior", DEFAULT.n)):
        session = Session("somebody")
        session.query = address
        assert done(tab._open(session, TINY))[-1][tab._n] == n


def test_of_one_photo_the_slider_says_its_own_lambda(tab, engines):
    """Its curve is another one than that of several."""
    session = Session("somebody")
    session.evidence["evidence"] = replace(engines.get(TINY).read(EXAMPLES["sepia"][:1]), prior=TINY)
    moved = tab._move(session, TINY, values_of(tab) | {tab._closeness: 0.4})
    assert moved[tab._closeness]["text"] == f"{along(0.4, 1).lam_ratio:.3g}" != f"{along(0.4).lam_ratio:.3g}"
    one = Request(session.evidence["evidence"], DEFAULT.replace(prior=TINY, **dict(along(0.4, 1))), False)
    session.state(View).request = one
    session.evidence["evidence"] = replace(engines.get(TINY).read(EXAMPLES["sepia"][:3]), prior=TINY)
    # The slider stays, and with it the likeness falls.
    more = tab._choose(session, TINY, values_of(tab) | {tab._method.auto: False})
    assert more[tab._closeness]["value"] == pytest.approx(0.4, abs=0.01)
    assert more[tab._method.likeness]["value"] == pytest.approx(along(0.4).likeness, abs=0.01)


def test_a_method_is_chosen_once_for_a_set(tab):
    """Several events say that the set may be another one. A late one would replace what the user chose meanwhile."""
    session = Session("somebody")
    for example in ("sepia", "sketch"):
        done(tab._panel.open(session, example, TINY))
        assert chosen_anew(tab, session) and not chosen_anew(tab, session)


def test_no_updating_is_left_of_samples_that_were_given_up(tab, engines):
    session, engine = Session("somebody"), engines.get(TINY)
    first, other = (Request(Evidence(), DEFAULT.replace(prior=TINY, seed=seed)) for seed in range(2))
    done(tab._fill(session, first, engine, None))
    given_up = tab._fill(session, other, engine, None)
    assert "updating" in next(given_up)[tab._status]
    given_up.close()
    assert any("seed 0" in updates.get(tab._status, "") for updates in done(tab._fill(session, first, engine, None)))


def test_structure_and_style_have_two_sources(page, served_small):
    chosen(page, served_small, "sketch")
    before = sheet(page)
    page.get_by_role("tab", name="Structure and style").click()
    page.click("#structure input")
    page.get_by_role("option", name="the model").click()
    page.wait_for_url(re.compile("structure=prior"))
    page.focus("#split-range")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile("structure=prior&style_levels=1"))
    another_sheet(page, before)
    says(page, "#samples-status", "structure: the model")
    mixed = sheet(page)
    code_says(page, "#python", "structure=")
    page.reload()
    wait_status(page, "structure: the model")
    wait_samples(page)
    assert sheet(page) == mixed
    page.click("#reset")
    same_sheet(page, before)
