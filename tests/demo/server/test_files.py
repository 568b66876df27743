"""Old files go by age and by size, what is in use stays, and what a dead process left goes at the next start."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest import mock

import pytest

from demo.server.files import FILE, Cleanup, own_folder
from demo.server.state import Session
from transflow_core.evidence import Evidence, EvidenceImage, Source
from transflow_core.pictures import Picture

LOCKING = "import sys; from demo.server.files import _lock; print(_lock(sys.argv[1]), flush=True); input()"


def write(path, size=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def sweep(folder, used=(), **bounds):
    """The bytes that remain."""
    with mock.patch.multiple("demo.server.files", **{"AGE": 3600} | bounds):
        return Cleanup(lambda: used, folder).size


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return own_folder()


def test_files_go_by_age_whoever_wrote_them_and_their_folders_go_too(tmp_path, clock):
    files = [write(tmp_path / place) for place in ("aa/upload.png", "bb/cc/result.webp", "tmp0000")]
    clock.seconds = 1800
    assert sweep(tmp_path) == 3 * (10 + FILE) and all(file.exists() for file in files)
    clock.seconds = 4000
    assert sweep(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_go_where_there_are_too_many_bytes_and_those_in_use_last(tmp_path):
    files = [write(tmp_path / name / "file", 1000) for name in "abcd"]
    for age, file in enumerate(files):
        os.utime(file, (time.time() + 100 - age,) * 2)  # the last one is the oldest
    assert sweep(tmp_path, [files[3]], TOTAL=2 * FILE + 2500) == 2 * FILE + 2000
    assert [file.exists() for file in files] == [True, False, False, True]
    assert sweep(tmp_path, [files[3]], TOTAL=0) == 0


def test_a_folder_that_vanishes_is_no_fault(tmp_path):
    assert sweep(tmp_path / "nowhere") == 0


def test_a_process_has_a_folder_of_its_own_that_nobody_else_reads_and_that_no_other_page_moves(own, tmp_path):
    """Gradio takes an upload only from the folder that GRADIO_TEMP_DIR names: that of every page must stay its own."""
    assert own.parent == tmp_path and own.stat().st_mode & 0o077 == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "another"))
        assert own_folder().parent == tmp_path / "another"
    assert own_folder() == own and os.environ["GRADIO_TEMP_DIR"] == str(own)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_what_killed_processes_left_goes_at_the_start_and_nothing_of_others(own, tmp_path):
    dead, new, alive, foreign = (tmp_path / name for name in (*(f"transflow-studio-{n}" for n in "123"), "somebody"))
    for folder in (dead, new, alive, foreign):
        write(folder / "file")
    for folder in (dead, alive, foreign, own):
        os.utime(folder, (1e9, 1e9))
    with subprocess.Popen(
        [sys.executable, "-c", LOCKING, alive], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline()  # it may be suspended from now on: it touches nothing
        sweep(own)
        assert not dead.exists() and new.exists() and alive.exists() and foreign.exists() and own.exists()
    sweep(own)
    assert not alive.exists()


def test_a_session_uses_the_sources_of_its_evidence_and_its_results_until_it_ends(own, clock, monkeypatch):
    visitor = SimpleNamespace(session_hash="one", client=None)
    session = Session.of(visitor)
    upload, unused = write(own / "hash" / "face.png"), write(own / "hash2" / "unused.png")
    image = EvidenceImage(Source(str(upload)), Picture("face.png"), problem="no face")
    session.evidence["evidence"] = Evidence((image,), "tiny")
    result = write(session.file("sheet.png"))
    monkeypatch.setattr("demo.server.files.AGE", -1.0)
    cleanup = Cleanup(Session.in_use, own)
    assert cleanup.size == 2 * (10 + FILE) and not unused.exists()
    Session.disconnected(visitor)
    cleanup.sweep()
    assert upload.exists() and result.exists()  # the visitor may come back
    clock.seconds = 3600
    cleanup.sweep()
    assert not result.exists() and not upload.exists() and own.exists()
