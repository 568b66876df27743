"""The morph through the samples of the Studio, in a real browser."""

import numpy as np
import pytest
from PIL import Image, ImageSequence

from .conftest import opened, saved, says


def draw(page, n):
    page.fill("#number input", str(n))
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('#sheet .cells button').length === n", arg=n)
    says(page, "#samples-status", f"{n} sample")


@pytest.fixture
def studio(page, served_small):
    draw(opened(page, served_small), 4)
    return page


def test_one_click_plays_all_samples_as_a_loop_that_can_be_saved(studio, tmp_path, shot):
    page = studio
    page.click("#morph-run")
    page.wait_for_selector("#morph-shown img[alt='4 faces, each turns into the next']")
    says(page, "#morph-status", "64 pictures in")
    assert page.evaluate("document.querySelector('#morph-shown img').decode().then(() => true)")
    shot(page, "morph")
    for kind in ("webp", "gif", "mp4"):
        file = saved(page, f"#morph-get-{kind}", tmp_path)
        assert file.name == f"morph.{kind}" and file.stat().st_size > 1000
    with Image.open(tmp_path / "morph.webp") as morph:
        frames = [np.asarray(one.convert("RGB")).astype(int) for one in ImageSequence.Iterator(morph)]
    assert len(frames) == 64 and frames[0].shape == (256, 256, 3)
    steps = [np.abs(after - before).mean() for before, after in zip(frames, [*frames[1:], frames[0]], strict=True)]
    assert max(steps) < np.abs(frames[0] - frames[16]).mean()  # no jump, at the end of the loop neither


def test_it_can_be_stopped_and_needs_two_samples(studio, hold, monkeypatch):
    page = studio
    monkeypatch.setattr("demo.controls.QUICK", 0)
    batch = hold("call", which=lambda number: number > 1)
    page.click("#morph-run")
    page.wait_for_selector("#morph-status progress")
    page.click("#morph-stop")
    says(page, "#morph-status", "Stopped after")
    page.wait_for_selector("#morph-stop", state="hidden")
    assert batch.cancelled.wait(60) and not page.is_visible("#morph-shown img")
    batch.go_on.set()
    draw(page, 1)
    page.click("#morph-run")
    page.get_by_text("A morph needs two samples or more").wait_for()
