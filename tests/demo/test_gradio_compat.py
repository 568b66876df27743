"""Gradio behind its fence: an upgrade that changes a private name is told in one sentence, or refused."""

import contextlib
import logging
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from unittest import mock

import gradio
import httpx
import pytest
from gradio_client import Client
from starlette.routing import Route

from demo import gradio_compat, page
from demo.gradio_compat import ROUTES, UNSAFE, USES, check, check_routes
from demo.page import Page

from ..helpers import ROOT

FENCE = Path(gradio_compat.__file__)
FILES = sorted({ROOT / "app.py", *ROOT.glob("demo/**/*.py")} - {FENCE})
PUBLIC = {"gradio", "gradio.components", "gradio.events", "gradio.themes"}


def test_the_installed_gradio_has_every_name(caplog):
    check()
    assert not caplog.records


def test_gradio_is_imported_without_making_stub_files():
    """They take two fifths of its import. A profile of the calls shows whether an upgrade made them some other way."""
    code = (
        "import inspect, sys\nplain, called = inspect.getfile, set()\n"
        "sys.setprofile(lambda frame, *_: called.add(frame.f_code.co_name))\nimport demo.gradio_compat\n"
        "assert 'create_or_modify_pyi' in called and 'create_pyi' not in called and inspect.getfile is plain"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", USES)
def test_a_name_that_is_gone_is_told_or_refused(name, monkeypatch, caplog):
    owner = name.rpartition(".")[0]
    if isinstance(resolve_name(owner), ModuleType):
        monkeypatch.delattr(name)
    else:
        others = (other.rpartition(".") for other in USES if other != name)
        monkeypatch.setattr(owner, type("Changed", (), {other: None for of, _, other in others if of == owner}))
    sentence = f"has no {name} any more, so {USES[name]}."
    if name in UNSAFE:
        with pytest.raises(SystemExit, match=sentence):
            check()
    else:
        with caplog.at_level(logging.WARNING):
            check()
        assert sentence in caplog.text


@pytest.mark.parametrize("gone", ROUTES)
def test_an_address_that_the_middleware_does_not_know_is_refused(gone):
    requests = (route.split() for route in ROUTES)
    routes = [Route(path, id, methods=[method]) for method, path in requests]
    check_routes(SimpleNamespace(routes=routes))
    del routes[ROUTES.index(gone)]
    with pytest.raises(SystemExit, match=f"does not answer {gone} any more"):
        check_routes(SimpleNamespace(routes=routes))


def test_no_second_server_renders_the_page_and_no_run_is_recorded(served_small, monkeypatch, tmp_path):
    """Whatever Gradio's own defaults and the environment say."""
    options = {}
    monkeypatch.setattr(Page, "launch", lambda self, **given: options.update(given))
    monkeypatch.setattr(page, "check_routes", lambda app: None)
    monkeypatch.setattr(page, "Cleanup", mock.Mock())
    shown = Page()
    shown.folder = tmp_path
    page.launch(shown, prevent_thread_lock=True)
    assert options["ssr_mode"] is False and options["run_history"] is False
    assert type(shown._queue.pending_messages_per_session).__name__ == "Messages"  # of `keep_pages`
    assert httpx.get(f"{served_small}/config").json()["run_history"] is False


def test_a_session_does_not_grow_with_each_update(served_small):
    """`served_small` has the fence installed."""
    with gradio.Blocks() as blocks:
        text = gradio.Textbox()
        text.submit(lambda words: gradio.Textbox(words, label=words), text, text, api_name="label")
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    with contextlib.closing(blocks), contextlib.closing(Client(url, verbose=False)) as client:
        for words in ("one", "two", "three"):
            assert client.predict(words, api_name="/label")["label"] == words
        state = blocks.app.state_holder[client.session_hash]
        assert set(state.blocks_config.blocks) == set(blocks.blocks)
        assert set(state.config_values) <= set(blocks.blocks)


def test_what_follows_several_handlers_is_one_event(served_small):
    """Gradio's script compares each event with each part of the page when it opens."""
    events = httpx.get(f"{served_small}/config").json()["dependencies"]
    followers = [event for event in events if event["trigger_after"] is not None and event["backend_fn"]]
    assert followers  # what follows one handler alone
    assert len({(*event["inputs"], None, *event["outputs"]) for event in followers}) == len(followers)


def test_no_other_file_touches_a_private_name_of_gradio():
    texts = {file: file.read_text(encoding="utf-8") for file in FILES}
    own = {name for text in texts.values() for name in re.findall(r"(?:\b(?:self|cls)\.|\bdef |^)(_\w+)", text, re.M)}
    methods = {name for kind in (gradio.Image, gradio.Blocks) for name in dir(kind) if callable(getattr(kind, name))}
    for file, text in texts.items():
        assert set(re.findall(r"\.(_[a-z]\w*)", text)) <= own | {"_exit"}, file  # `os._exit` is public
        stored = re.findall(r"(\w+)\.(\w+)(?:: \w+)? = ", text)
        assert not {name for of, name in stored if of not in ("self", "cls")} & methods and "gr" not in dict(stored), (
            file
        )
        named = re.sub(r"^( *)from gradio import ", r"\1import gradio.", text, flags=re.M)
        named = re.findall(r"^ *(?:import|from) (gradio[\w.]*)|\bgr(\.[a-z]\w*)", named, re.M)
        foreign = {module or f"gradio{attribute}" for module, attribute in named}
        assert {name for name in foreign if isinstance(resolve_name(name), ModuleType)} <= PUBLIC, file
