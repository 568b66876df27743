"""Files to pictures, in child processes."""

import os
import subprocess
import sys
import threading
import time
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from transflow_core import pictures
from transflow_core.engine import Engine
from transflow_core.images import ImageError, load_image, reading, to_pil
from transflow_core.pictures import PictureReader, is_quick, read_picture
from transflow_core.runtime.worker import as_client

from .helpers import ROOT


@pytest.fixture(scope="module")
def reader():
    return PictureReader()


@pytest.mark.parametrize("content", ["photograph", "digit", b"no picture"])
def test_a_child_reads_what_this_process_would(reader, celeba64, content, tmp_path):
    if content == "photograph":
        content = tmp_path / "a.png"
        face = to_pil(celeba64.decode(torch.zeros(1, celeba64.dim)))[0]
        canvas = Image.new("RGB", (200, 160), "grey")
        canvas.paste(face.resize((128, 128)), (40, 20))
        canvas.save(content)
    elif content == "digit":
        content = Image.new("L", (28, 28))
    found = reader.submit(content, name="a", size=64).result()
    expected = read_picture(content, name="a", size=64)
    assert (found.name, found.problem) == (expected.name, expected.problem)
    for ours, theirs in zip([*found.faces, found.whole], [*expected.faces, expected.whole], strict=True):
        assert (ours and ours.to_dict()) == (theirs and theirs.to_dict())
        assert (ours and ours.image.tobytes()) == (theirs and theirs.image.tobytes())


def test_a_mask_or_photograph_is_decoded_there_too(reader, tiny_prior, tmp_path):
    Image.new("RGB", (900, 400), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    engine = Engine(tiny_prior, pictures=reader)
    with patch("transflow_core.reading.load_image", side_effect=AssertionError):
        assert engine.picture(tmp_path / "a.png").tobytes() == load_image(tmp_path / "a.png").tobytes()
        with pytest.raises(ImageError, match=r"^b\.png: this is not an image"):
            engine.picture(tmp_path / "b.png")


class Deadly:
    """Unpickled in the child, where a crafted file would be decoded."""

    def __reduce__(self):
        return os._exit, (1,)


class Endless:
    def __reduce__(self):
        return time.sleep, (1e6,)


@pytest.mark.parametrize("content", [Deadly(), Endless()], ids=["crashes", "runs on"])
def test_a_decoder_that_crashes_or_runs_on_takes_one_picture_along(content, monkeypatch):
    reader = PictureReader()
    with monkeypatch.context() as patched:
        if isinstance(content, Endless):
            patched.setattr(pictures, "_SECONDS", 0.01)
        found = reader.submit(content, name="evil.heic", size=64).result()
    assert found.name == "evil.heic" and "could not be decoded" in found.problem and not found.faces
    assert reader.submit(Image.new("RGB", (8, 8)), name="b", size=64).result().faces


def test_what_was_begun_is_given_to_who_asks_for_the_same(reader, tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "grey").save(file)
    reader.begin([file], size=64, align="never")
    (begun,) = reader._begun.values()
    begun.result()
    file.unlink()
    assert reader.submit(file, name="a.png", size=32, align="never").result().problem  # another size: it is read now
    assert reader.submit(file, name="a.png", size=64, align="never") is begun and begun.result().faces
    assert reader.submit(file, name="a.png", size=64, align="never").result().problem


def test_a_small_picture_does_not_wait_for_a_large_one(reader):
    """The large one is looked at and goes to the slow child, where it stays for as long as it takes."""
    held = threading.Event()
    reader._slow.submit(held.wait)
    try:
        with as_client("heavy"):
            large = [reader.submit(Image.new("RGB", (900, 400)), name="large", size=64) for _ in range(3)]
        for client, how in (("light", {}), ("light", {"align": "never"}), ("heavy", {})):
            with as_client(client):
                assert reader.submit(Image.new("RGB", (64, 64)), name="small", size=64, **how).result().faces
        assert not any(picture.done() for picture in large)
        assert large[2].cancel()
    finally:
        held.set()
    assert [picture.result().name for picture in large[:2]] == ["large"] * 2


@pytest.mark.parametrize(
    ("size", "align", "quick"),
    [
        ((128, 128), "auto", True),  # may be aligned already: one look
        ((300, 300), "auto", False),  # is searched from all sides
        ((100, 60), "auto", False),
        ((64, 64), "always", False),
        ((500, 400), "never", True),
        ((5000, 4000), "never", False),
    ],
)
def test_what_is_quick_is_known_by_the_header(size, align, quick, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)
    for content in (path, path.read_bytes(), Image.new("RGB", size)):
        assert is_quick(content, size=64, align=align) == quick


def test_a_large_file_is_not_even_opened_to_see_whether_it_is_quick(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bytes(2**20 + 1))
    assert not is_quick(path, size=64) and is_quick(b"no picture", size=64)


@pytest.mark.parametrize("kind", ["path", "file"])
def test_a_source_that_is_larger_than_any_picture_is_not_read_to_its_end(tmp_path, monkeypatch, kind):
    for module in (pictures, reading):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(5000))
    with path.open("rb") as file:
        with pytest.raises(ImageError, match="larger than"):
            pictures.content_of(path if kind == "path" else file)
        assert file.tell() <= 1001


def test_the_child_ends_with_this_process():
    code = "from transflow_core.pictures import PictureReader; PictureReader(); print('over')"
    # The child has this one's stderr: it is read to its end when both are over.
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "over\n" and not ended.stderr
