"""The Restyle tab, as a visitor uses it, and the code that it shows, run."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo.controls import Model, Working
from demo.examples import PHOTOGRAPH
from demo.painting import mask_of, paintable
from demo.server.admission import CancelToken
from demo.server.state import Session
from demo.snippet import command_line, python_code
from demo.tabs.restyle import Photograph, Request, _likeness, make, steps_of, write
from demo.tabs.restyle import Restyle as RestyleTab
from transflow_core.engine import Engine
from transflow_core.evidence import Source
from transflow_core.images import load_image
from transflow_core.images.output import read_png_metadata
from transflow_core.recipes import Restyle

from ..helpers import TIMEOUT, squares
from .conftest import TINY, codes_run, done, paint, same, saved, says

CANVAS = "#restyle-paint canvas"


def style_files(folder, n=3):
    """Pictures that the tiny prior takes as they are, without face detection."""
    paths = [folder / f"style_{i}.png" for i in range(n)]
    for path, image in zip(paths, squares(n), strict=True):
        image.save(path)
    return paths


def sources(page):
    return page.eval_on_selector_all("#restyle-slider img", "images => images.map(image => image.src)")


def other_picture(page, before):
    """Waits until the picture on the right differs from an earlier one."""
    page.wait_for_function(
        "src => { const images = document.querySelectorAll('#restyle-slider img'); "
        "return images.length === 2 && images[1].src !== src; }",
        arg=before,
    )


def test_where_no_photo_can_be_read_there_is_none_to_choose(engines, tmp_path):
    with gr.Blocks():
        tab = RestyleTab(Model(engines, gr.Textbox(), []))
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    *_, shown = done(tab._read(Session("somebody"), TINY, [Source(tmp_path / "broken.jpg")]))
    assert shown[tab._which]["value"] is None and shown[tab._which]["choices"] == []


def test_the_tab_opens_on_a_worked_example_which_follows_the_slider(
    page, served_small, engines, hold, tmp_path, monkeypatch
):
    page.goto(f"{served_small}/?tab=restyle")
    says(page, "#restyle-status", "A check")
    assert "3 faces found" in page.inner_text("#restyle-faces")
    before, after = sources(page)
    assert before != after and "60 %" in page.inner_text("#restyle-strength")
    for key, shown in (("ArrowRight", "65 %"), ("End", "100 %"), ("ArrowLeft", "95 %")):
        after = sources(page)[1]
        page.press("#restyle-strength-range", key)
        says(page, "#restyle-strength output", shown)
        other_picture(page, after)
    path = saved(page, "#restyle-get-png", tmp_path)
    assert load_image(path).size == load_image(PHOTOGRAPH).size
    assert read_png_metadata(path)["strength"] == "0.95"
    runs, run = [], Engine.run
    monkeypatch.setattr(Engine, "run", lambda engine, *given, **how: runs.append(given) or run(engine, *given, **how))
    assert saved(page, "#restyle-get-png", tmp_path).stat().st_size > 1000 and not runs  # it was made already
    page.click("#restyle-save > button")
    for kind in ("webp", "mp4"):
        file = saved(page, f"#restyle-get-{kind}", tmp_path)
        assert file.name == f"restyled.{kind}" and file.stat().st_size > 1000
    assert len(runs) == 1  # both are of the same pictures
    says(page, "#restyle-status", "A check")
    # A file that cannot be used changes nothing.
    (tmp_path / "broken.png").write_bytes(b"nothing")
    page.set_input_files("#restyle-files input", [tmp_path / "broken.png"])
    page.locator(".toast-body", has_text="broken.png").wait_for()
    says(page, "#restyle-faces", "3 faces found")
    after = sources(page)[1]
    page.press("#restyle-strength-range", "ArrowLeft")
    other_picture(page, after)
    # Without a style, a painted part is removed and comes back.
    page.click("#restyle-code > button")
    says(page, "#restyle-python", "tfc.Restyle(")
    page.click("#style-clear")
    says(page, "#restyle-status", "choose a style")
    assert all("restyle" not in page.inner_text(f"#restyle-{code}").lower() for code in ("python", "shell"))
    whole = sources(page)[0]
    page.get_by_text("Remove something").click()
    page.wait_for_selector(CANVAS)
    paint(page, CANVAS, (0.44, 0.35), (0.56, 0.4))
    page.click("#restyle-paint [data-paint=apply]")
    page.wait_for_function("src => document.querySelector('#restyle-slider img')?.src !== src", arg=whole)
    page.wait_for_selector("#restyle-paint canvas[data-mask][data-shown]")
    mask = load_image(saved(page, "#restyle-get-mask", tmp_path))
    left, top, right, bottom = np.array(mask.getbbox()) / np.tile(mask.size, 2)
    assert 0.3 < left < 0.44 and 0.56 < right < 0.7 and 0.2 < top < bottom < 0.6
    page.click("#restyle-paint [data-paint=clear]")
    page.wait_for_function("src => document.querySelector('#restyle-slider img')?.src === src", arg=whole)
    # So does one that is still being removed.
    removal = hold("picture", which=lambda number: number == 0)
    paint(page, CANVAS, (0.44, 0.35), (0.56, 0.4))
    page.click("#restyle-paint [data-paint=apply]")
    assert removal.begun.wait(TIMEOUT)
    page.click("#restyle-paint [data-paint=clear]")
    assert removal.cancelled.wait(TIMEOUT) and sources(page)[0] == whole
    # A mask that touches no face is refused, and nothing changes.
    paint(page, CANVAS, (0.02, 0.95), (0.1, 0.97))
    page.click("#restyle-paint [data-paint=apply]")
    page.get_by_text("touches no face").wait_for()
    assert sources(page)[0] == whole
    # A posterior is a style, in whichever drop zone it lands.
    engine = engines.get(TINY)
    how = {"prior": engine.prior.name, "fingerprint": engine.prior.fingerprint}
    engine.posterior(style_files(tmp_path)).save(tmp_path / "mine.safetensors", metadata=how)
    page.set_input_files("#restyle-files input", [tmp_path / "mine.safetensors"])
    says(page, "#style-status", "mine.safetensors")
    assert "3 faces found" in page.inner_text("#restyle-faces"), "the photo stays"
    # Two photos: one is shown, and the other is a click away.
    page.set_input_files("#restyle-files input", [PHOTOGRAPH, tmp_path / "style_0.png"])
    page.locator("#restyle-which").get_by_label("style_0.png").click()
    says(page, "#restyle-status", "The whole picture in")


def test_on_a_phone_the_styles_are_below_the_picture_and_a_click_scrolls_to_it(new_page, served_small):
    page = new_page(touch=True)
    page.goto(f"{served_small}/?tab=restyle")
    says(page, "#restyle-status", "A check")
    page.wait_for_function(
        "() => { const [picture, styles] = ['#restyle-slider', '#style-examples'].map("
        "one => document.querySelector(one).getBoundingClientRect()); "
        "return picture.height > 100 && Math.abs(styles.top - picture.bottom) < 40; }"
    )
    page.locator("#restyle-code").scroll_into_view_if_needed()
    assert page.locator("#style-examples").bounding_box()["y"] >= 0, "the styles stay in sight"
    page.locator("#style-examples button:visible").last.click()
    page.wait_for_function("document.querySelector('#restyle-slider').getBoundingClientRect().top >= 0")


def test_only_faces_that_were_compared_are_said_to_be_the_same():
    assert "same person." in _likeness([0.1], 1) and "same people." in _likeness([0.1, 0.2, 0.3], 3)
    assert "same people in the first 3 faces." in _likeness([0.1, 0.2, 0.3], 4)
    assert "another person in the first 3 faces." in _likeness([0.1, 0.2, 0.7], 4)


@pytest.mark.parametrize(
    "text", [7, None, "4x4", "2x2:222z", "2x2:111", "999x1:1", "0x4:", "97x1:" + 97 * "1", "9" * 99999]
)
def test_an_invalid_mask_is_refused(text):
    with pytest.raises(ValueError, match="not a painted mask"):
        mask_of(text)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 99))
def test_a_painted_mask_comes_back(width, height, seed):
    cells = re.search(
        r'<canvas width="(\d+)" height="(\d+)"', paintable("x", (width, height), index=0, name="", apply="")
    )
    size = int(cells[1]), int(cells[2])
    assert max(size) == 96 or min(width, height) / max(width, height) < 0.01
    painted = Image.fromarray(np.random.default_rng(seed).integers(0, 2, size[::-1], dtype=np.uint8) * 255)
    html = paintable("x", (width, height), index=0, name="", apply="", mask=painted)
    told = mask_of(re.search('data-mask="(.*?)"', html)[1])
    assert (told is None and not painted.getbbox()) or told.tobytes() == painted.tobytes()


def request_of(engines, folder, recipe, mask=None):
    engine = engines.get(TINY)
    photograph = Photograph.of(engine, engine.read([PHOTOGRAPH], faces="all"), 0, mask)
    return engine, photograph, Request(photograph, engine.read(style_files(folder)), recipe.replace(prior=TINY))


@pytest.mark.parametrize("painted", [False, True])
def test_the_code_makes_the_same_picture(engines, checkout, painted):
    recipe = Restyle(strength=0.6, likeness=0.5, keep_levels=1, match_colours=False)
    mask = Image.new("L", (96, 50))
    mask.paste(255, (44, 16, 54, 22))
    engine, photograph, request = request_of(engines, checkout, recipe, mask if painted else None)
    if painted:
        write("mask", photograph, None, engine, Session("a")).rename("mask.png")
    expected = load_image(make("png", request, engine).save("expected.png")[0])
    engine.prior.save(TINY)
    for _ in codes_run(steps_of(request)):
        assert same("restyled.png", expected)
        Path("restyled.png").unlink()


def test_a_style_that_files_do_not_describe_is_a_file_to_download(engines, tmp_path):
    engine, photograph, request = request_of(engines, tmp_path, Restyle())
    request = replace(request, style=request.style.replace(0, weight=2.0))
    path = write("style", photograph, request, engine, Session("c"))
    assert f"[{path.name!r}]" in python_code(steps_of(request))
    assert f"--style {path.name}" in command_line(steps_of(request))
    for code in (python_code(steps_of(request)), command_line(steps_of(request))):
        assert f"# download {path.name} from this page" in code
    assert engine.load_posterior(path).m == 4


def test_what_is_missing_is_named(engines, tmp_path):
    engine, photograph, request = request_of(engines, tmp_path, Restyle())
    for kind, asked, text in (("mask", request, "Paint over something"), ("style", None, "Choose a style")):
        with pytest.raises(ValueError, match=text):
            write(kind, photograph, asked, engine, Session("d"))


def test_a_failure_leaves_no_words_of_what_ran():
    with gr.Blocks():
        working = Working("part")

    def fails(**how):
        raise ValueError("no")

    updates = working.run(fails, CancelToken(), SimpleNamespace(ahead=0), "faces")
    assert next(updates) == {working.output: ""}
    with pytest.raises(ValueError, match="no"):
        next(updates)
