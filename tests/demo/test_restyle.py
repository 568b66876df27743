"""The Restyle tab, as a visitor uses it, and the code that it shows, run."""

import shlex
from dataclasses import replace

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from demo.examples import PHOTOGRAPH
from demo.restyle.snippet import command_line, python_code
from demo.restyle.work import Asked, Settings, Sitting, write
from demo.session import Session
from transflow_core.cli import app
from transflow_core.images import load_image, read_png_metadata

from ..helpers import ROOT


def style_files(folder, n=3):
    """Pictures that the tiny prior takes as they are, so that nobody waits for a detector."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
    paths = [folder / f"style_{i}.png" for i in range(n)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


def wait_status(page, words):
    page.wait_for_function("words => document.querySelector('#restyle-status').innerText.includes(words)", arg=words)


def sources(page):
    return page.eval_on_selector_all("#restyle-slider img", "images => images.map(image => image.src)")


def test_a_photograph_and_one_click_give_both_pictures_a_strip_and_files(page, served_small, tmp_path):
    page.goto(served_small)
    page.get_by_role("tab", name="Restyle").click()
    page.wait_for_selector("#restyle-hint .hint")
    page.click("#restyle-try")
    wait_status(page, "choose a style")
    assert "3 faces found" in page.inner_text("#restyle-given")
    page.set_input_files("#style-files input", style_files(tmp_path))
    wait_status(page, "descriptor")
    assert len(sources(page)) == 2 and page.is_visible("#restyle-strip img")
    before = sources(page)
    page.fill("#restyle-strength input[type=number]", "30")
    page.press("#restyle-strength input[type=number]", "Tab")
    page.wait_for_function(
        "before => [...document.querySelectorAll('#restyle-slider img')].some((image, i) => image.src !== before[i])",
        arg=before,
    )
    wait_status(page, "descriptor")
    with page.expect_download() as download:
        page.click("#restyle-get-png")
    path = tmp_path / "restyled.png"
    download.value.save_as(path)
    assert load_image(path).size == load_image(PHOTOGRAPH).size
    assert read_png_metadata(path)["strength"] == "0.3"
    # Two photographs: one is shown, and the other is a click away.
    page.set_input_files("#restyle-files input", [PHOTOGRAPH, tmp_path / "style_0.png"])
    page.locator("#restyle-which").get_by_label("style_0.png").click()
    wait_status(page, "1 face in")


def asked_of(engines, folder, settings):
    engine = engines.get("tiny.safetensors")
    taken = engine.intake([PHOTOGRAPH], faces="all")
    style = engine.intake(style_files(folder))
    return engine, Asked(Sitting.of(taken, 0), style.posterior(), style, "tiny.safetensors", settings)


def test_the_code_makes_the_same_picture(engines, tmp_path, monkeypatch):
    settings = Settings(strength=0.6, likeness=0.5, kept=1, toned=False)
    engine, asked = asked_of(engines, tmp_path, settings)
    expected = np.asarray(load_image(write("png", asked, engine, Session("a")))).astype(int)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    engine.prior.save(tmp_path / "tiny.safetensors")
    exec(python_code(asked), {})
    assert np.abs(np.asarray(load_image("restyled.png")) - expected).max() <= 1
    (tmp_path / "restyled.png").unlink()
    result = CliRunner().invoke(app, shlex.split(command_line(asked))[3:])
    assert result.exit_code == 0, result.output
    assert np.abs(np.asarray(load_image("restyled.png")) - expected).max() <= 1


def test_a_style_that_files_do_not_describe_is_a_file_to_take(engines, tmp_path):
    engine, asked = asked_of(engines, tmp_path, Settings())
    asked = replace(asked, style=asked.style.replace(0, weight=2.0))
    path = write("style", replace(asked, posterior=asked.style.posterior()), engine, Session("c"))
    assert f"[{path.name!r}]" in python_code(asked) and f"--style {path.name}" in command_line(asked)
    assert engine.load_posterior(path).m == 4


def test_what_a_page_sends_is_brought_into_range(engines, tmp_path):
    assert Settings.checked(300, -5, 99, 1) == Settings(1.0, 0.0, 32, True)
    engine, asked = asked_of(engines, tmp_path, Settings(strength=0.0, kept=32))
    same = load_image(write("png", asked, engine, Session("b")))
    assert np.abs(np.asarray(same).astype(int) - np.asarray(load_image(PHOTOGRAPH))).max() <= 1
    frames = Image.open(write("webp", asked, engine, Session("b"))).n_frames
    assert frames == 1 or frames == 24  # at strength 0 all are one, and WebP may keep one
