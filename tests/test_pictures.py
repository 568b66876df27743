"""Files to pictures, in child processes."""

import ast
import io
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
from transflow_core.images import ImageError, load_image, to_pil
from transflow_core.pictures import PictureReader, read_picture
from transflow_core.runtime import sandbox
from transflow_core.runtime.sandbox import gaps
from transflow_core.runtime.worker import as_client

from .helpers import ROOT, TIMEOUT, Unpickled
from .images.test_decoding import fuzzed_files


@pytest.fixture(scope="module")
def reader():
    return PictureReader()


@pytest.mark.parametrize("size", [(4000, 3999), (5472, 4256), (10000, 7900)])
def test_a_picture_of_up_to_80_megapixels_is_read_in_the_childs_memory(size, tmp_path):
    """One without a face is searched for longest."""
    Image.new("RGB", size, "grey").save(tmp_path / "large.jpg")
    assert (
        len(PictureReader().submit(tmp_path / "large.jpg", name="large.jpg", size=256, align="auto").result().faces)
        == 1
    )


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
    with patch("transflow_core.reading.read_picture", side_effect=AssertionError):
        assert engine.picture(tmp_path / "a.png").tobytes() == load_image(tmp_path / "a.png").tobytes()
        with pytest.raises(ImageError, match=r"^b\.png: this is not an image"):
            engine.picture(tmp_path / "b.png")


def reported(code: str) -> Unpickled:
    """It becomes the text of `found` after `code` ran in the child."""
    return Unpickled(eval, f"[exec({code!r}, scope := {{}}), repr(scope['found'])][1]")


ATTEMPTS = """
import ctypes, os
def refused(call, *args):
    try:
        return call(*args) == -1
    except PermissionError:
        return True
libc = ctypes.CDLL(None)
found = {
    "read": refused(open, "/etc/passwd"), "list": refused(os.listdir, "/"), "write": refused(open, __FILE__, "w"),
    "remove": refused(os.remove, __FILE__), "tcp": refused(libc.socket, 2, 1, 0), "udp": refused(libc.socket, 2, 2, 0),
    "unix": refused(libc.socket, 1, 1, 0), "run": refused(os.posix_spawn, "/bin/true", ["true"], {}),
    "signal": refused(os.kill, os.getppid(), 0), "chmod": refused(os.chmod, __FILE__, 0o600),
}
"""


def test_the_child_reaches_no_file_no_network_and_no_program(reader, tmp_path):
    if gaps():
        pytest.skip(f"this kernel leaves a process {' and '.join(gaps())}")
    file = tmp_path / "secret.txt"
    file.write_text("a secret")
    name = reported(ATTEMPTS.replace("__FILE__", repr(str(file))))
    for size, keep in ((64, False), (900, True)):  # the quick child, and the other one
        picture = Image.new("RGB", (size, size))
        found = reader.submit(picture, name=name, size=64, align="auto" if keep else "never").result()
        assert found.faces and set(eval(found.name).values()) == {True}, found.name
    assert file.read_text() == "a secret"


def test_the_child_gets_no_secrets_of_the_environment(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a secret")
    name = reported("import os; found = sorted(os.environ)")
    found = PictureReader().submit(Image.new("RGB", (8, 8)), name=name, size=8, align="never").result()
    assert "PYTHONPATH" in found.name and "HF_TOKEN" not in found.name


def test_what_the_kernel_cannot_take_is_said_in_words(monkeypatch, caplog):
    monkeypatch.setattr(sandbox, "_landlock_version", lambda: -1)
    monkeypatch.setattr(sandbox, "_filters", lambda: False)
    sandbox.lock()  # takes nothing, and fails at nothing
    PictureReader.shared.__func__.__wrapped__(PictureReader)
    for words in (("files", "Landlock"), ("network", "seccomp")):
        assert any(all(word in said for word in words) for said in caplog.messages)


def test_every_format_is_read_after_the_lock(reader):
    """No decoder is imported, and no file is opened, once the child has given up its files."""
    for kind, data in fuzzed_files().items():
        found = reader.submit(data, name=kind, size=1, align="never", keep=True).result()
        assert found.image is not None and found.image.tobytes() == load_image(data).tobytes(), (kind, found.problem)


@pytest.mark.parametrize("length", [None, 2**40])
@pytest.mark.parametrize(
    "text",
    [b"", b"\x80\x04N.", b'{"bytes": -1}', b'{"bytes": 4}', b'{"pixels": [9999999, 99999]}', b'{"similarity": 0}'],
)
def test_an_answer_is_plain_data_or_refused(length, text):
    answer = (length or len(text)).to_bytes(8, "big") + text + b"abc"
    with pytest.raises((EOFError, ValueError, TypeError, KeyError)):
        pictures._received(io.BytesIO(answer))


@pytest.mark.parametrize(
    ("content", "seconds"), [(Unpickled(os._exit, 1), TIMEOUT), (Unpickled(time.sleep, 1e6), 0.01)]
)
def test_a_decoder_that_crashes_or_runs_on_takes_one_picture_along(content, seconds, monkeypatch):
    reader = PictureReader()
    children = [reader._quick._process, reader._slow._process]
    with monkeypatch.context() as patched:
        patched.setattr(pictures, "_SECONDS", seconds)
        found = reader.submit(content, name="evil.heic", size=64).result()
    assert found.name == "evil.heic" and "could not be decoded" in found.problem and not found.faces
    assert any(child.stdin.closed and child.stdout.closed for child in children)  # nothing of it stays open
    assert reader.submit(Image.new("RGB", (8, 8)), name="b", size=64).result().faces


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


def test_the_child_ends_with_this_process():
    code = "from transflow_core.pictures import PictureReader; PictureReader(); print('over')"
    # The child has this one's stderr: it is read to its end when both are over.
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "over\n" and not ended.stderr


def attributes(*places):
    """(file, name) of each attribute and name in the Python files below these places of the checkout."""
    for file in (file for place in places for file in (ROOT / place).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute | ast.Name):
                yield file.relative_to(ROOT).as_posix(), ast.unparse(node)


def test_opencv_gets_arrays_alone():
    names = [name.rpartition(".")[2] for _, name in attributes("transflow_core", "demo")]
    assert "copyMakeBorder" in names
    decoders = ("imread", "imdecode", "VideoCapture", "FileStorage", "imcount", "ImageCollection")
    assert not [name for name in names if name.startswith(decoders)]


def test_the_server_decodes_only_the_pictures_that_ship():
    """All that a stranger sends goes through `Engine.picture` and `Engine.faces`, to the child."""
    decoding = {
        file for file, name in attributes("demo", "transflow_core/operations") if name in ("Image.open", "load_image")
    }
    assert decoding == {"demo/cards.py", "demo/tabs/classify.py", "demo/tabs/studio.py"}
