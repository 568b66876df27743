"""Old files go by age and by size, what is in use stays, and what a dead process left goes at the next start."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo.server import state as sessions
from demo.server.files import Cleanup, in_use, own_folder, sweep
from demo.server.state import Session
from transflow_core.evidence import Evidence, EvidenceImage, Source
from transflow_core.pictures import Picture


def write(path, size=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_files_go_by_age_whoever_wrote_them_and_their_folders_go_too(tmp_path):
    files = [write(tmp_path / place) for place in ("aa/upload.png", "bb/cc/result.webp", "tmp0000")]
    assert sweep(tmp_path, age=3600, now=time.time() + 1800) == 30 and all(file.exists() for file in files)
    assert sweep(tmp_path, age=3600, now=time.time() + 4000) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_a_session_uses_stays_however_old_it_is(tmp_path):
    source, result, other = (write(tmp_path / place) for place in ("aa/face.png", "session/sheet.png", "bb/other.png"))
    assert sweep(tmp_path, [source, result.parent], age=3600, now=time.time() + 9000) == 20
    assert source.exists() and result.exists() and not other.exists()


def test_the_oldest_go_where_there_are_too_many_bytes_and_those_in_use_last(tmp_path):
    files = [write(tmp_path / name / "file", 1000) for name in "abcd"]
    later = time.time() + 100
    for age, file in enumerate(files):
        os.utime(file, (later - age, later - age))  # the last one is the oldest
    assert sweep(tmp_path, [files[3]], total=2500, now=later) == 2000
    assert [file.exists() for file in files] == [True, False, False, True]
    assert sweep(tmp_path, [files[3]], total=0, now=later) == 0


def test_a_folder_that_vanishes_and_one_that_cannot_be_read_are_no_fault(tmp_path):
    assert sweep(tmp_path / "nowhere") == 0
    Cleanup(lambda: [], tmp_path / "nowhere").close()


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return own_folder()


def test_a_process_has_a_folder_of_its_own_that_nobody_else_reads(own, tmp_path):
    assert own.parent == tmp_path and own.stat().st_mode & 0o077 == 0
    assert own_folder() == own and os.environ["GRADIO_TEMP_DIR"] == str(own)


def test_a_page_of_another_folder_does_not_move_the_folder_of_the_first(own, tmp_path):
    """Gradio takes an upload only from the folder that GRADIO_TEMP_DIR names: that of every page must stay its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "another"))
        assert own_folder().parent == tmp_path / "another"
    assert own_folder() == own and os.environ["GRADIO_TEMP_DIR"] == str(own)


def test_what_killed_processes_left_goes_at_the_start_and_nothing_of_others(own, tmp_path):
    dead, alive, foreign = (tmp_path / name for name in ("transflow-studio-1", "transflow-studio-2", "somebody"))
    for folder in (dead, alive, foreign):
        write(folder / "file")
    for folder in (dead, foreign):
        os.utime(folder, (1e9, 1e9))
    Cleanup(lambda: [], own).close()
    assert not dead.exists() and alive.exists() and foreign.exists() and own.exists()


def test_a_session_uses_the_sources_of_its_evidence_and_its_results(own, monkeypatch):
    monkeypatch.setattr(Session, "_all", {})
    session = Session.of(SimpleNamespace(session_hash="one"))
    upload, unused = write(own / "hash" / "face.png"), write(own / "hash2" / "unused.png")
    image = EvidenceImage(Source(str(upload)), Picture("face.png"), problem="no face")
    session.evidence["evidence"] = Evidence((image,), "tiny")
    result = write(session.file("sheet.png"))
    cleanup = Cleanup(Session.in_use, own, age=-1.0)
    cleanup.close()
    assert upload.exists() and result.exists() and not unused.exists()
    assert cleanup.size == 20
    session.close()
    cleanup.sweep()
    assert not result.exists() and not upload.exists()
    assert Path(own).exists()


def test_files_of_a_page_that_was_closed_go_though_nobody_comes_after_it(own, monkeypatch):
    monkeypatch.setattr(Session, "_all", {})
    visitor = SimpleNamespace(session_hash="the last")
    result = write(Session.of(visitor).file("sheet.png"))
    cleanup = Cleanup(Session.in_use, own, age=-1.0)
    cleanup.close()
    Session.disconnected(visitor)
    cleanup.sweep()
    assert result.exists()  # it may come back
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + 3600))
    cleanup.sweep()
    assert not result.exists()


def test_files_of_a_call_that_waits_in_a_queue_stay(own):
    waiting, other = write(own / "a" / "face.png"), write(own / "b" / "other.png")
    with in_use([waiting]), in_use([waiting]):
        cleanup = Cleanup(lambda: [], own, age=-1.0)  # sweeps at its start
        cleanup.close()
        assert waiting.exists() and not other.exists()
    cleanup.sweep()
    assert not waiting.exists()
