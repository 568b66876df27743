"""Animations: written, then read back by another decoder."""

import base64
import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from transflow_core.images import ANIMATION_SUFFIXES, save_animation

SHADES = [(220, 40, 40), (40, 200, 60), (40, 60, 210), (230, 220, 60)]


def frames(width: int = 48, height: int = 32) -> list[Image.Image]:
    return [Image.new("RGB", (width, height), shade) for shade in SHADES]


def read(path) -> list[np.ndarray]:
    if path.suffix == ".mp4":
        av = pytest.importorskip("av", reason="MP4 is optional and needs PyAV")
        with av.open(str(path)) as file:
            return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with Image.open(path) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def needs_av(suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av", reason="MP4 is optional and needs PyAV")


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
@pytest.mark.parametrize("boomerang", [False, True])
def test_frames_come_back_in_order_and_colour(tmp_path, suffix, boomerang):
    needs_av(suffix)
    path = tmp_path / f"a:b %d{suffix.upper() if suffix == '.gif' else suffix}"
    save_animation(frames(), path, boomerang=boomerang)
    expected = SHADES + SHADES[2:0:-1] if boomerang else SHADES
    got = read(path)
    assert len(got) == len(expected)
    for frame, shade in zip(got, expected, strict=True):
        assert frame.shape == (32, 48, 3)
        assert np.abs(frame[10:20, 10:20].astype(int) - shade).max() <= 8


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
@pytest.mark.parametrize("loop", [True, False])
def test_loop_and_rate(tmp_path, suffix, loop):
    path = tmp_path / f"a{suffix}"
    save_animation(frames(), path, fps=10, loop=loop)
    with Image.open(path) as image:
        image.load()
        assert image.info["duration"] == 100
        assert image.info.get("loop", 1) == (0 if loop else 1)


def test_mp4_is_what_browsers_play(tmp_path):
    av = pytest.importorskip("av", reason="MP4 is optional and needs PyAV")
    path = tmp_path / "odd.mp4"
    save_animation(frames(47, 33), path, fps=12.5)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it is loaded whole
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (48, 34)
        assert stream.average_rate == 12.5
        assert stream.codec_context.colorspace == 1  # BT.709
    assert np.abs(read(path)[0][-1, -1].astype(int) - SHADES[0]).max() <= 8  # the added edge has no colour of its own


PLAY = """async data => {
  const video = document.body.appendChild(document.createElement('video'));
  video.muted = true;
  video.src = 'data:video/mp4;base64,' + data;
  await video.play();
  await new Promise(done => video.addEventListener('ended', done));
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const colour = [...context.getImageData(10, 10, 1, 1).data].slice(0, 3);
  return [video.videoWidth, video.videoHeight, video.currentTime, colour];
}"""


def test_mp4_plays_in_a_browser_with_its_colours(tmp_path, browser):
    needs_av(".mp4")
    path = tmp_path / "a.mp4"
    save_animation(frames()[::-1], path, fps=10)
    page = browser.new_page()
    data = base64.b64encode(path.read_bytes()).decode()
    width, height, time, colour = page.evaluate(PLAY, data)
    page.close()
    assert (width, height) == (48, 32)
    assert time == pytest.approx(0.4, abs=0.05)
    assert np.abs(np.subtract(colour, SHADES[0])).max() <= 12  # red, read by the matrix of BT.601, is 19 off


def test_a_gif_has_one_palette_for_all_frames(tmp_path):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    path = tmp_path / "a.gif"
    save_animation(noise, path)
    colours = {tuple(colour) for frame in read(path) for colour in frame.reshape(-1, 3)}
    assert 128 < len(colours) <= 256


@pytest.mark.parametrize("suffix", ANIMATION_SUFFIXES)
def test_a_single_frame(tmp_path, suffix):
    needs_av(suffix)
    path = tmp_path / f"a{suffix}"
    save_animation(frames()[:1], path, boomerang=True)
    assert len(read(path)) == 1


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="at least one frame"):
        save_animation([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="differ in size"):
        save_animation([*frames(), Image.new("RGB", (9, 9))], tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"\.webp, \.gif, \.mp4, not as '\.avi'"):
        save_animation(frames(), tmp_path / "a.avi")
    for fps in (0, -1, 51):
        with pytest.raises(ValueError, match="fps"):
            save_animation(frames(), tmp_path / "a.gif", fps=fps)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match="pip install av"):
        save_animation(frames(), tmp_path / "a.mp4")
