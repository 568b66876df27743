"""The page: header, prior picker, tabs."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency
from starlette.middleware import Middleware

from transflow_core.shipped import CLASSIFYING_PRIOR, DEFAULT_PRIOR

from .agents import serve_tools
from .api import add_endpoints
from .classify import Classify
from .engines import Engines
from .errors import words_of
from .events import on
from .explain import Explain
from .guard import Guard, Quota, fetch_no_addresses
from .interpolate import Interpolate
from .janitor import Janitor, own_folder
from .queues import SERVER, drain
from .restyle import Restyle
from .session import Session
from .studio import Studio
from .style import CSS, THEME

__all__ = ["build", "launch"]

_log = logging.getLogger(__name__)
# Seconds: hosts kill what has not ended half a minute after it was told to.
_DRAINING = 20

_TITLE = """
# Transflow Studio
Show a trained generative model a handful of images, and it makes new ones like them. Nothing is trained.
"""


def build(engines: Engines | None = None, first_prior: str = DEFAULT_PRIOR) -> gr.Blocks:
    """The whole demo, to be launched.

    Args:
        engines: the priors to offer; the shipped ones by default.
        first_prior: the prior that a new session starts with. It is loaded here, so that the first visitor need not
            wait.
    """
    engines = engines or Engines()
    first_prior, missing = _loaded(engines, first_prior)
    own_folder()
    with gr.Blocks(title="Transflow Studio", analytics_enabled=False) as demo:
        if missing:
            gr.HTML(f"<p class='missing-priors' role='status'>{escape(missing)}</p>", elem_id="missing", padding=True)
        with gr.Row():
            gr.Markdown(_TITLE, elem_id="title")
            prior, chosen = _prior_picker(engines, first_prior, engines.about, "prior")
        with gr.Tab("Studio", id="studio") as tab:
            Studio(engines, prior, [*chosen, *_seen(tab)], demo)
        with gr.Tab("Restyle", id="restyle") as tab:
            Restyle(engines, prior, [*chosen, *_seen(tab)])
        with gr.Tab("Interpolate", id="interpolate") as tab:
            Interpolate(engines, prior, [*chosen, *_seen(tab)])
        with gr.Tab("Classify", id="classify") as tab:
            # The fine details of a larger prior drown what tells classes apart: the tab has a prior of its own.
            about = "Of this tab alone: celeba64 tells classes apart better"
            own, own_chosen = _prior_picker(engines, CLASSIFYING_PRIOR, about, "classify-prior")
            Classify(engines, own, [*own_chosen, *_seen(tab)])
        with gr.Tab("How it works", id="how") as tab:
            Explain(engines, prior, [*chosen, *_seen(tab)])
        demo.unload(Session.left)
        add_endpoints(engines)
    return demo


def launch(demo: gr.Blocks, **options: Any) -> Any:
    """Serve the page; keywords are those of `gr.Blocks.launch`, such as `server_port`.

    Where the package `mcp` is installed (the extra of that name), the endpoints are tools for agents as well.
    Told to end by SIGTERM, it lets no more work begin, waits for what is under way, and ends.
    """
    fetch_no_addresses()
    janitor = Janitor(Session.in_use, Path(demo.GRADIO_CACHE))
    guard = Middleware(Guard, quota=Quota(used=lambda: janitor.left))
    if threading.current_thread() is threading.main_thread() and not options.get("prevent_thread_lock"):
        signal.signal(signal.SIGTERM, _terminate)
    return demo.queue(max_size=None, api_open=False).launch(
        theme=THEME,
        css=CSS,
        show_error=True,
        max_file_size="64mb",
        footer_links=["api", "settings"],
        app_kwargs={"middleware": [guard]},
        run_history=False,
        mcp_server=serve_tools(),
        **SERVER,
        **options,
    )


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one means it
    drain(_DRAINING)
    time.sleep(1)  # what was finished last is sent
    raise KeyboardInterrupt


def _loaded(engines: Engines, first_prior: str) -> tuple[str, str]:
    """The first prior that can be loaded, the wanted one before all; and what is wrong with those before it.

    Ends the program, in words, where none can.
    """
    wrong = []
    for name in dict.fromkeys((first_prior, *engines.names())):
        try:
            engines.get(name)
            return name, " ".join(wrong)
        except (ValueError, OSError) as error:
            _log.error("the prior %s cannot be loaded: %s", name, error)
            wrong.append(f"The prior {name} cannot be loaded: {words_of(error)}.")
    raise SystemExit("error: " + " ".join(wrong))


def _seen(tab: gr.Tab) -> list[Dependency]:
    """When a tab came into view: only then is what it shows computed."""
    return on(tab.select, lambda session: setattr(session, "tab", tab.id))


class _Chosen(dict[str, str]):
    """The last good prior of each picker."""


def _prior_picker(engines: Engines, value: str, about: str, elem_id: str) -> tuple[Component, list[Dependency]]:
    """The picker, and when another prior was chosen and loaded. One that is refused is told once, and goes again."""
    picker = gr.Dropdown(
        engines.names(),
        value=value,
        label="Prior",
        info=about,
        allow_custom_value=True,
        elem_id=elem_id,
        scale=0,
        min_width=260,
    )

    def choose(session: Session, name: str) -> Iterator[dict]:
        chosen = session.of_kind(_Chosen)
        try:
            engines.get(name)
        except Exception:
            yield {picker: chosen.get(elem_id, value)}
            raise
        chosen[elem_id] = name

    return picker, on(picker.change, choose, picker, picker)
