"""The Studio tab as a visitor uses it, in a real browser."""

import base64
import io
import re
import shutil
import threading
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from demo.render import sheet as rendered
from demo.studio.strip import Strip
from transflow_core.engine import Engine
from transflow_core.images import read_png_metadata
from transflow_core.posterior import Posterior, recommend
from transflow_core.prior import load_prior
from transflow_core.recipes import Sample
from transflow_core.views import from_metadata, to_python, to_shell

from ..helpers import METHODS, frames
from .conftest import EXAMPLES, noise, saved, says, unfold

LAM = METHODS["local"].lam_ratio


def opened(page, url):
    """Open the page and wait for samples: the prior's own, unless the address says more."""
    page.goto(url if "?" in url else url + "/?example=none")
    page.wait_for_selector("#sheet img")
    page.wait_for_function("document.querySelector('#samples-status')?.innerText.includes('samples in')")
    return page


def chosen(page, url, example):
    """Open the page with an example set, at rest: samples, files and sweep are there, and the address tells."""
    opened(page, url)
    page.click(f"#evidence [data-example={example}]")
    page.wait_for_url(re.compile(f"example={example}"))


def sheet(page):
    return page.get_attribute("#sheet img", "src")


def decoded(src):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(src.split(",", 1)[1]))).convert("RGB")).astype(int)


def halved(pixels):
    """2×2 means, (H, W, 3) -> (H / 2, W / 2, 3), of what has an even number of rows and columns."""
    height, width, _ = pixels.shape
    return pixels[: height // 2 * 2, : width // 2 * 2].reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))


def roughness(pixels):
    """Mean absolute difference of neighbouring pixels."""
    return np.abs(np.diff(pixels, axis=1)).mean()


def status(page):
    return page.inner_text("#samples-status")


def wait_status(page, words):
    says(page, "#samples-status", words)


def upload(page, files, used):
    """Drop files and wait until the samples are conditioned on `used` of them."""
    page.set_input_files("#evidence-files input[type=file]", files)
    page.wait_for_function("n => document.querySelectorAll('#evidence-cards .card').length >= n", arg=1)
    wait_status(page, f"m = {used} ")


def drag(page, start, end, steps=12):
    """Drag λ from one place of its track (0 to 1) to another, and leave the mouse down."""
    page.locator("#lam-range").scroll_into_view_if_needed()
    box = page.locator("#lam-range").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    for step in range(1, steps + 1):
        page.mouse.move(box["x"] + (start + (end - start) * step / steps) * box["width"], y)


@pytest.fixture
def no_strip(monkeypatch):
    """Previews come from the server, as they do until a strip is there."""
    monkeypatch.setattr(Strip, "missing", lambda *_: iter(()))


def slider(page):
    """λ/m where the slider stands, to the three digits that the page sends."""
    return float(page.evaluate("Number(Math.pow(10, document.querySelector('#lam-range').value).toPrecision(3))"))


def test_upload_two_files_drag_the_slider_and_the_picture_changes(page, served, shot):
    opened(page, served)
    prior = sheet(page)
    assert "the prior itself" in status(page)
    upload(page, EXAMPLES["greyscale"][:2], used=2)
    first = sheet(page)
    assert first != prior
    page.get_by_label("The paper's").click()
    page.wait_for_url(re.compile("method=posterior"))
    first = sheet(page)
    drag(page, 0.55, 0.1)
    page.mouse.up()
    wait_status(page, f"λ/m = {slider(page):g}")
    assert slider(page) < 0.05
    # Low λ: every sample is close to the mean of two grey faces.
    pixels = decoded(sheet(page))
    assert np.ptp(pixels, axis=-1).mean() < 12
    shot(page, "studio_two_files")


def test_the_last_value_of_a_drag_wins(page, served, no_strip):
    chosen(page, served, "red_hair")
    drag(page, 0.2, 0.9, steps=40)
    wait_status(page, f"λ/m = {slider(page):g},")  # while the button is still down
    dragged = decoded(sheet(page))
    page.mouse.up()
    page.wait_for_url(re.compile(f"lam_ratio={slider(page):g}&"))  # after everything else
    assert f"λ/m = {slider(page):g}," in status(page)
    # What was shown on the way are the means of what stands there now: the same faces, in the same place, less sharp.
    shown = decoded(sheet(page))
    assert shown.shape == dragged.shape
    assert np.abs(halved(shown) - halved(dragged)).mean() < 3
    assert torch.cuda.is_available() or roughness(shown) > roughness(dragged)


def test_a_preview_that_comes_late_does_not_blur_the_whole_images(page, served, monkeypatch, no_strip):
    """The last preview of a drag, asked for while an earlier one was made, runs after the slider was let go."""
    preview, drawn, whole = Engine.preview, Engine.drawn, []
    asked, released, idle = threading.Event(), threading.Event(), threading.Event()

    def slow_preview(*args, **how):
        idle.clear()
        asked.set()
        released.wait()
        try:
            return preview(*args, **how)
        finally:
            idle.set()

    def kept(*args, **how):
        whole.append(drawn(*args, **how))
        return whole[-1]

    chosen(page, served, "red_hair")
    monkeypatch.setattr(Engine, "preview", slow_preview)
    monkeypatch.setattr(Engine, "drawn", kept)
    drag(page, 0.2, 0.9, steps=40)
    asked.wait()
    page.mouse.up()
    released.set()
    page.wait_for_url(re.compile(f"lam_ratio={slider(page):g}&"))
    frames(page, 60)  # a preview that was still asked for is under way by now
    idle.wait()
    frames(page)
    assert len(whole) == 1
    assert sheet(page) in rendered(whole[0].images, "samples")
    assert f"λ/m = {slider(page):g}," in status(page)


def test_a_key_moves_the_slider(page, served_small):
    opened(page, served_small)
    page.click("#evidence [data-example=cartoon]")
    wait_status(page, "m = 18 ")
    before = sheet(page)
    page.focus("#lam-range")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    wait_status(page, f"λ/m = {slider(page):g},")
    assert slider(page) > 1.2 * LAM and sheet(page) != before


def test_a_hostile_file_name_is_only_a_name(page, served_small, tmp_path):
    name = "<img src=x onerror=window.pwned=1>.png"
    shutil.copy(EXAMPLES["sepia"][0], tmp_path / name)
    opened(page, served_small)
    upload(page, [str(tmp_path / name)], used=1)
    assert page.evaluate("window.pwned") is None
    assert page.locator("#evidence-cards img").count() == 1


def test_two_sessions_do_not_see_each_others_evidence(new_page, served_small):
    one, two = opened(new_page(), served_small), opened(new_page(), served_small)
    upload(one, EXAMPLES["greyscale"][:2], used=2)
    assert two.locator("#evidence-cards .card").count() == 0 and "the prior itself" in status(two)
    upload(two, EXAMPLES["red_hair"][:3], used=3)
    assert "red_hair" not in one.inner_html("#evidence-cards") and "m = 2 " in status(one)
    drag(one, 0.5, 0.4)
    one.mouse.up()
    wait_status(one, f"λ/m = {slider(one):g}, m = 2 ")
    assert "greyscale" not in two.inner_html("#evidence-cards")


def test_the_newest_click_ends_the_older_ones(page, served_small, monkeypatch):
    encode, last = Engine.encode, threading.Event()

    def until_ended(self, frames, *, cancel=None, **how):
        if not last.is_set():
            assert cancel.wait(60)
        return encode(self, frames, cancel=cancel, **how)

    opened(page, served_small)
    monkeypatch.setattr(Engine, "encode", until_ended)
    for key in ("greyscale", "red_hair", "sepia"):
        page.click(f"#evidence [data-example={key}]")
    last.set()
    page.click("#evidence [data-example=cartoon]")
    page.wait_for_url(re.compile("example=cartoon"))
    assert page.locator("#evidence-cards img[alt*=cartoon]").count() == page.locator("#evidence-cards .card").count()
    assert page.locator("#evidence-cards .card").count() == 18 and "m = 18 " in status(page)


def test_a_visitor_whose_images_are_read_holds_up_no_other(new_page, served_small, hold):
    one, two = opened(new_page(), served_small), opened(new_page(), served_small)
    first = hold("encode", which=lambda number: number == 0)
    one.set_input_files("#evidence-files input[type=file]", EXAMPLES["greyscale"][:2])
    assert first.begun.wait(60)
    upload(two, EXAMPLES["red_hair"][:3], used=3)
    two.click("#evidence-clear")
    wait_status(two, "the prior itself")
    drag(one, 0.5, 0.4)  # what is not read yet does not hold up one's own slider either
    one.mouse.up()
    one.wait_for_url(re.compile(f"lam_ratio={slider(one):g}&"))
    first.go_on.set()
    wait_status(one, "m = 2 ")


def test_a_page_that_is_closed_ends_what_it_asked_for(page, served_small, hold):
    opened(page, served_small)
    encode = hold("encode")
    page.set_input_files("#evidence-files input[type=file]", EXAMPLES["greyscale"][:2])
    assert encode.begun.wait(60)
    page.close()
    assert encode.stopped.wait(60)


def test_the_sheet_is_always_of_the_seed_that_its_words_tell(page, served_small):
    """Answers that come within one frame: a script that changes the one before in place would lose a sheet in some."""
    opened(page, served_small)
    page.click("#evidence [data-example=sketch]")
    wait_status(page, "m = 18 ")
    seen = {}
    for seed in (1, 2, 3, 4, 1, 2, 3, 4):
        page.fill("#seed input", str(seed))
        page.press("#seed input", "Enter")
        wait_status(page, f"seed {seed}")
        page.wait_for_url(re.compile(f"seed={seed}&"))
        assert seen.setdefault(seed, sheet(page)) == sheet(page)
    assert len(set(seen.values())) == 4


def test_a_reload_keeps_settings_and_example_and_forgets_uploads(page, served_small):
    opened(page, served_small)
    page.click("#evidence [data-example=sketch]")
    wait_status(page, "m = 18 ")
    page.fill("#seed input", "42")
    page.press("#seed input", "Enter")
    wait_status(page, "seed 42")
    page.wait_for_url(re.compile("seed=42.*example=sketch"))
    before = sheet(page)
    page.reload()
    wait_status(page, "seed 42")
    wait_status(page, "m = 18 ")
    assert sheet(page) == before
    upload(page, EXAMPLES["sepia"][:1], used=1)
    page.wait_for_url(re.compile("example=none"))
    page.reload()
    page.wait_for_selector("#sheet img")
    wait_status(page, "the prior itself")


def test_an_address_that_was_typed_wrong_opens_with_the_defaults(page, served_small):
    opened(page, served_small + "/?lam=nan&t=hot&n=1e99&seed=-5&example=../../etc")
    assert "the prior itself" in status(page)
    assert slider(page) == pytest.approx(LAM, rel=0.02)


def test_new_seed_and_reset(page, served_small):
    opened(page, served_small)
    before = sheet(page)
    page.click("#dice")
    page.wait_for_function("src => document.querySelector('#sheet img').src !== src", arg=before)
    drag(page, 0.5, 0.8)
    page.mouse.up()
    page.click("#reset")
    wait_status(page, "seed 0")
    page.wait_for_function("src => document.querySelector('#sheet img').src === src", arg=before)
    assert slider(page) == pytest.approx(LAM, rel=0.02)


def test_one_lambda_for_each_level(page, served):
    opened(page, served)
    page.click("#evidence [data-example=red_hair]")
    wait_status(page, "m = 18 ")
    same = sheet(page)
    unfold(page, "Advanced: one λ/m for each latent level")
    page.click("#by-level input")
    wait_status(page, "λ/m = " + ", ".join([f"{LAM:g}"] * 5))
    assert np.abs(decoded(sheet(page)) - decoded(same)).max() <= 8  # JPEG of the same samples, to rounding
    page.focus("#lam-4-range")
    page.keyboard.press("End")
    wait_status(page, "λ/m = " + ", ".join([f"{LAM:g}"] * 4 + ["10"]))
    assert np.abs(decoded(sheet(page)) - decoded(same)).mean() > 3


def test_what_is_taken_away_is_what_is_on_the_screen(page, served, tmp_path, shot):
    opened(page, served)
    page.click("#evidence [data-example=neon_bar]")
    wait_status(page, "m = 18 ")
    page.get_by_role("tab", name="Take away").click()
    unfold(page, "The same as code")
    page.wait_for_function("document.querySelector('#shell').innerText.includes('neon_bar')")
    picture, samples, file = (saved(page, f"#get-{kind}", tmp_path) for kind in ("sheet", "zip", "posterior"))
    recipe, posterior = from_metadata(read_png_metadata(picture)), Posterior.load(file)
    assert isinstance(recipe, Sample)
    looks = load_prior(posterior.metadata["prior"], device="cpu").looks(posterior.latents)
    assert recipe.choices == recommend(posterior, looks).method
    assert to_shell(recipe, [], "sheet.png").split(maxsplit=2)[2] in page.inner_text("#shell")
    assert to_python(recipe) in page.inner_text("#python")
    assert Sample.from_texts(posterior.metadata) == recipe
    with zipfile.ZipFile(samples) as archive:
        assert len(archive.namelist()) == 16
        assert Image.open(io.BytesIO(archive.read("sample_0000.png"))).size == (128, 128)
    assert posterior.m == 18
    shot(page, "studio_take_away")
    # Dropped in again, it gives the same samples, and λ still moves.
    shown = sheet(page)
    page.click("#evidence-clear")
    wait_status(page, "the prior itself")
    page.set_input_files("#evidence-files input[type=file]", str(file))
    wait_status(page, "m = 18 ")
    assert sheet(page) == shown and file.name in page.inner_text("#evidence-status")
    drag(page, 0.5, 0.2)
    page.mouse.up()
    page.wait_for_function("src => document.querySelector('#sheet img').src !== src", arg=shown)


def test_a_posterior_that_is_refused_is_told_as_text_and_does_not_stand_in_the_way(page, served_small, tmp_path):
    evidence = torch.ones(1, 768)
    name = "<b id=injected>another</b>"
    Posterior.condition(evidence, 0.5, metadata={"prior": name, "fingerprint": "x"}).save(
        tmp_path / "foreign.safetensors"
    )
    opened(page, served_small)
    page.set_input_files("#evidence-files input[type=file]", str(tmp_path / "foreign.safetensors"))
    page.get_by_text(f"was made with {name}").wait_for()
    assert page.locator("#injected").count() == 0
    upload(page, EXAMPLES["sepia"][:2], used=2)


def test_every_number_is_there(page, served, shot):
    opened(page, served)
    page.click("#evidence [data-example=noise_bar]")
    wait_status(page, "m = 18 ")
    # The paper's noisy occlusion is far outside, all of it.
    assert "Most of them are far" in page.inner_text("#evidence-status")
    assert page.locator("#evidence-cards .card.warning").count() == 0
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_function("document.querySelector('#numbers').innerText.includes('KL')")
    words = page.inner_text("#numbers")
    for name in ("λ/m", "‖μp‖²", "Σp", "KL", "32×32"):
        assert name in words
    page.get_by_text("Each image, as JSON").click()
    assert "log_prior" in page.inner_text("#evidence-json")
    shot(page, "studio_numbers")
    for tab, name in (("Sweep", "sweep"), ("Mean and evidence", "rebuilt")):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_selector(f"#{name} img")
        shot(page, f"studio_{name}")


def test_a_sweep_that_is_not_there_yet_says_so(page, served_small, hold):
    opened(page, served_small)
    page.get_by_role("tab", name="Sweep").click()
    page.get_by_text("A sweep needs evidence").wait_for()
    sweep = hold("sweep")
    page.click("#evidence [data-example=sepia]")
    page.get_by_text("The sweep is being made").wait_for()
    sweep.go_on.set()
    page.wait_for_selector("#sweep img")


def test_what_is_not_looked_at_is_not_made(page, served_small, hold):
    sweep = hold("sweep")
    sweep.go_on.set()  # it only counts
    chosen(page, served_small, "red_hair")
    page.get_by_label("The paper's").click()
    page.wait_for_url(re.compile("method=posterior"))
    assert not sweep.calls
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_selector("#sweep img")
    first = page.get_attribute("#sweep img", "src")
    drag(page, 0.5, 0.3)
    page.mouse.up()
    page.wait_for_url(re.compile(f"lam_ratio={slider(page):g}&"))
    assert sweep.calls == 1  # λ plays no part in the sweep of the paper's method
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_selector("#numbers table")  # so that the page knows what is looked at
    page.fill("#seed input", "7")
    page.press("#seed input", "Enter")
    page.wait_for_url(re.compile("seed=7"))
    assert sweep.calls == 1
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_function("src => (document.querySelector('#sweep img')?.src ?? src) !== src", arg=first)
    assert sweep.calls == 2


def test_stop_stops_reading(page, served_small):
    """What was read stays."""
    opened(page, served_small)
    page.set_input_files("#evidence-files input[type=file]", noise(40, seed=0, size=(200, 300)))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("images were not read").wait_for()
    assert page.locator("#evidence-cards .card").count() < 40


def test_another_prior_reads_the_evidence_anew(page, served):
    opened(page, served)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.click("#prior input")
    page.get_by_role("option", name="tiny.safetensors").click()
    unfold(page, "Advanced: one λ/m for each latent level")
    page.get_by_text("λ/m of level 4×4 (coarsest").wait_for()
    assert page.locator("#lam-1-range").is_visible() and page.locator("#lam-2-range").count() == 0
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_function("document.querySelector('#numbers').innerText.includes('768')")
    wait_status(page, "m = 2 ")
    assert page.locator("#evidence-cards .card").count() == 2


def test_a_slider_moved_while_another_prior_reads_the_evidence(page, served, hold):
    """Until then there are samples of the prior that was chosen, and no error."""
    opened(page, served)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    encode = hold("encode")
    page.click("#prior input")
    page.get_by_role("option", name="tiny.safetensors").click()
    page.get_by_role("tab", name="Numbers").click()
    page.focus("#lam-range")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#numbers').innerText.includes('tiny (')")
    wait_status(page, "the prior itself")  # it may say that it is updating first
    assert page.locator("[data-testid=toast-body]").count() == 0
    encode.go_on.set()
    wait_status(page, "m = 2 ")


def test_a_prior_that_is_not_offered_is_refused_in_words(page, served_small):
    opened(page, served_small)
    page.fill("#prior input", "/etc/passwd")
    page.press("#prior input", "Enter")
    page.get_by_text("is not among the priors offered here").first.wait_for()
    page.wait_for_function("document.querySelector('#prior input').value === 'tiny.safetensors'")
    assert page.get_by_text("is not among the priors offered here").count() == 1
    upload(page, EXAMPLES["sepia"][:1], used=1)


def drag_own(page, name, start, end):
    """Drag a method's own slider and leave the mouse down."""
    page.locator(f"#method-{name}").scroll_into_view_if_needed()
    box = page.locator(f"#method-{name} input[type=range]").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(box["x"] + (start + (end - start) * step / 8) * box["width"], y)


def test_the_method_is_chosen_for_the_evidence_until_a_hand_moves_it(page, served, shot):
    chosen(page, served, "sketch")
    assert page.is_checked("#method-auto input") and "Chosen for you" in page.inner_text("#method-words")
    assert "new members of the set" in status(page) and not page.locator("#lam .band").is_visible()
    before = sheet(page)
    drag_own(page, "likeness", 0.9, 0.1)
    page.wait_for_function("src => document.querySelector('#sheet img').src !== src", arg=before)  # a preview
    page.mouse.up()
    page.wait_for_url(re.compile(r"method=local.*likeness=0(\.[01]\d?)?&"))  # where the hand let go
    page.wait_for_function("!document.querySelector('#method-words').innerText.includes('Chosen for you')")
    assert not page.is_checked("#method-auto input")
    page.click("#evidence [data-example=sepia]")  # other evidence leaves it alone
    page.wait_for_url(re.compile("method=local.*example=sepia"))
    page.click("#method-auto input")
    page.wait_for_url(lambda url: "example=sepia" in url and "method" not in url)
    page.wait_for_function("document.querySelector('#method-words').innerText.includes('Chosen for you')")
    shot(page, "studio_method")


def test_the_method_changes_what_is_drawn_and_comes_back_on_reload(page, served, shot):
    chosen(page, served, "greyscale")
    sheets = [sheet(page)]
    page.get_by_label("The paper's").click()  # one click away
    page.wait_for_url(re.compile("method=posterior&lam_ratio=0.5"))
    assert page.locator("#lam .band").is_visible() and not page.locator("#method-likeness").is_visible()
    assert "0.50 (recommended)" in page.inner_text("#lam")
    sheets.append(sheet(page))
    page.get_by_label("Like blends of a few").click()
    page.wait_for_url(re.compile("method=bootstrap.*images_per_sample=2&"))
    sheets.append(sheet(page))
    assert len(set(sheets)) == 3
    unfold(page, "The same as code")
    page.wait_for_function("document.querySelector('#shell').innerText.includes('--images-per-sample 2')")
    assert "tfc.Sample(method='bootstrap'" in page.inner_text("#python")
    page.reload()
    wait_status(page, "like blends of a few, 2 images each")
    wait_status(page, "m = 18")
    assert sheet(page) == sheets[-1] and not page.is_checked("#method-auto input")
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_selector("#sweep img")
    assert "from 1 image each to 18 images each" in page.get_attribute("#sweep img", "alt")
    page.get_by_role("tab", name="Numbers").click()
    page.wait_for_function("document.querySelector('#numbers').innerText.includes('of 16')")
    assert "like blends of a few, 2 images each" in page.inner_text("#numbers")
    page.click("#reset")
    wait_status(page, "new members of the set")
    assert page.is_checked("#method-auto input")


def test_structure_from_here_and_style_from_there(page, served, shot):
    chosen(page, served, "sketch")
    before = sheet(page)
    page.get_by_role("tab", name="Structure and style").click()
    page.wait_for_selector("#strips img")
    strips = page.locator("#strips img")
    assert strips.count() == 7 and len({strips.nth(i).get_attribute("src") for i in range(7)}) == 7
    page.click("#strips [data-split='2']")
    page.wait_for_url(re.compile("structure=prior&style_levels=2"))
    assert sheet(page) != before and "structure: the prior" in status(page)
    page.wait_for_selector("#strips [data-split='2'][aria-pressed=true]")
    mixed = sheet(page)
    page.get_by_role("tab", name="Take away").click()
    unfold(page, "The same as code")
    page.wait_for_function("document.querySelector('#python').innerText.includes('structure=')")
    shot(page, "studio_structure")
    page.reload()
    wait_status(page, "structure: the prior")
    wait_status(page, "m = 18")
    assert sheet(page) == mixed
    page.click("#reset")
    page.wait_for_function("src => document.querySelector('#sheet img').src === src", arg=before)


def test_an_address_with_a_method_that_is_none_opens_with_the_default(page, served_small):
    opened(page, served_small + "/?example=none&manner=mine&likeness=x&structure=nowhere")
    assert page.is_checked("#method-kind input[value=local]")
