"""The page: header, side panel, tabs."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
from gradio.components import Component
from starlette.middleware import Middleware
from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from transflow_core.recipes import CLASSIFYING_PRIOR, DEFAULT_PRIOR
from transflow_core.runtime import tune

from .controls import Model
from .gradio_compat import check_routes, install, keep_pages
from .server.admission import SERVER, drain
from .server.api import add_endpoints, serve_tools
from .server.errors import message_of, warn
from .server.events import Updates, new_signal, number_last, on
from .server.files import AGE, Cleanup, own_folder, upload_folder
from .server.middleware import ServerMiddleware
from .server.priors import Engines
from .server.state import Session
from .static import FOLDER, static
from .style import CSS, THEME
from .tabs.classify import Classify
from .tabs.explain import Explain, about, how_far
from .tabs.interpolate import Interpolate
from .tabs.restyle import Restyle
from .tabs.studio import Studio
from .tabs.studio_results import sampler_for

_log = logging.getLogger(__name__)
_FAR = Mount("/far", StaticFiles(directory=FOLDER / "far"))  # pictures of the tab of this name
_PREVIEW = Route("/preview.jpg", lambda _: FileResponse(FOLDER / "preview.jpg"))
# Seconds. What runs may finish; the process ends whatever still runs. Hosts kill it half a minute after the signal.
_DRAINING, _ENDED = 12, 19

_TABS = {
    "studio": "Studio",
    "restyle": "Restyle",
    "interpolate": "Interpolate",
    "behind": "Behind it",
}
_BEHIND = {"how": "How it works", "far": "How far it goes", "classify": "Tell apart", "about": "About"}
_ABOUT = "Show it a few faces. It makes new ones like them, in seconds."


class Page(gr.Blocks):
    """The page.

    Attributes:
        ahead: work to do in advance while no request waits, for ever.
        forget: drops what is in memory of images that nobody used for so many seconds.
    """

    ahead: Callable[[], None]
    forget: Callable[[float], None]

    def get_config_file(self) -> Any:
        """With what links to the page show. Gradio has these for `gr.Interface` alone."""
        host = os.environ.get("SPACE_HOST")  # readers of links need a full address, and a Space knows its own
        picture = f"https://{host}/preview.jpg" if host else "preview.jpg"
        return super().get_config_file() | {"thumbnail": picture, "simple_description": _ABOUT}


def build(engines: Engines | None = None, first_prior: str = DEFAULT_PRIOR) -> Page:
    """Build the page, to launch it.

    Args:
        engines: the priors to offer; the shipped ones by default.
        first_prior: the prior of a new session. It is loaded here, so that the first visitor does not wait for it.
    """
    tune(server=True)
    install()
    engines = engines or Engines()
    first_prior, missing = _loaded(engines, first_prior)
    own_folder()
    with Page(title="Transflow Studio", analytics_enabled=False) as demo:
        if missing:
            gr.HTML(f"<p class='missing-priors' role='status'>{escape(missing)}</p>", elem_id="missing", padding=True)
        # The Space that it runs in shows its code.
        header, space = static("header.html").replace("$minutes", f"{AGE / 60:g}"), os.environ.get("SPACE_ID", "")
        gr.HTML(space, html_template=header, js_on_load=static("header.js"), elem_id="title", label="Transflow Studio")
        with gr.Sidebar(label="For researchers", open=False, position="right", width=380, elem_id="lab"):
            gr.Markdown("## For researchers")
            prior, chosen = _prior_picker(engines, first_prior, engines.about, "prior")
            panel = gr.Column(elem_id="lab-studio")
        query = gr.Textbox(visible="hidden", label="Address")
        with gr.Tabs() as tabs:
            panes = {key: gr.Tab(title, id=key) for key, title in _TABS.items()}
        with panes["behind"], gr.Tabs(elem_id="behind") as behind:
            panes |= {key: gr.Tab(title, id=key) for key, title in _BEHIND.items()}

        def arrive(session: Session, address: str) -> Updates:
            """The page opens at the tab, and with the model, of its address."""
            session.query, found = address, dict(parse_qsl(address))
            if "anew" in found:
                warn("The server had forgotten this page, so it opened anew. Add again what is missing.")
            updates: Updates = {}
            if (tab := found.get("tab")) in panes:  # else a user who clicked on another tab meanwhile stays there
                session.tab = tab
                updates[tabs] = gr.Tabs(selected="behind" if tab in _BEHIND else tab)
                updates |= {behind: gr.Tabs(selected=tab)} if tab in _BEHIND else {}
            with contextlib.suppress(ValueError, OSError):
                engines.get(found.get("prior", first_prior))
                updates[prior] = found.get("prior", first_prior)
            return updates

        arrived = on(
            demo.load,
            arrive,
            query,
            [tabs, behind, prior],
            js=f"() => ({static('photos.js')})(location.search.slice(1))",
        )
        opened = {key: _opened(tab) for key, tab in panes.items()}
        with panes["studio"]:
            Studio(Model(engines, prior, [chosen, opened["studio"]]), arrived, panel)
        with panes["restyle"]:
            Restyle(Model(engines, prior, [chosen, opened["restyle"]]))
        with panes["interpolate"]:
            Interpolate(Model(engines, prior, [chosen, opened["interpolate"]]), arrived)
        with panes["how"]:
            Explain(Model(engines, prior, [chosen, opened["behind"], opened["how"]]))
        with panes["classify"]:
            why = "celeba64 is the smallest, and the quickest for this"
            own, own_chosen = _prior_picker(
                engines, CLASSIFYING_PRIOR, why, "classify-prior", label="Model of this tab"
            )
            gr.Markdown("Tell apart: which of your classes is it?", elem_classes="lead")
            Classify(Model(engines, own, [own_chosen, opened["behind"], opened["classify"]]))
        for key, text in {"far": how_far(), "about": about()}.items():
            with panes[key]:
                gr.HTML(text, elem_id=key, elem_classes="how", label=_BEHIND[key])
        demo.unload(Session.disconnected)
        add_endpoints(engines, demo)
        number_last(demo)
    demo.ahead, demo.forget = partial(engines.keep_examples, first_prior), engines.forget
    return demo


def launch(demo: Page, **options: Any) -> Any:
    """Serve the page; keywords are those of `gr.Blocks.launch`, such as `server_port`.

    Where the package `mcp` is installed (the extra of that name), the endpoints are tools for agents as well.
    After SIGTERM it accepts no more requests, drops those that wait, and ends within 20 seconds, whatever runs.
    """
    cleanup = Cleanup(partial(_in_use, demo), upload_folder())
    threading.Thread(target=cleanup.run, name="cleanup", daemon=True).start()
    middleware = Middleware(ServerMiddleware, files=cleanup)
    # After each event Gradio sums up all events so far, with pandas, for a dashboard that the page does not have.
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
    stays = not options.pop("prevent_thread_lock", False)
    if stays and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    demo.queue(max_size=None, api_open=False)
    keep_pages(demo)
    # Gradio would take the port of its variable, or the next free one.
    port = options.pop("server_port", None) or os.environ.get("GRADIO_SERVER_PORT")
    if host := options.get("server_name") or os.environ.get("GRADIO_SERVER_NAME"):
        _check_host(host)
    # Through a tunnel of ssh, the page of another machine has an address of this one.
    far = f"const far = {str('SSH_CONNECTION' in os.environ).lower()};"
    # Gradio requests its own page first: work that may take all of a busy machine begins after that.
    try:
        launched = demo.launch(
            theme=THEME,
            css=CSS,
            # Before the page's first request; `js` may come after it.
            head=f"<script>{far}{static('sending.js')}{static('stream.js')}</script>",
            js=f"() => {{{static('paint.js')}({static('anywhere.js')})()}}",
            show_error=True,
            max_file_size="64mb",
            footer_links=["api", "settings"],
            favicon_path=FOLDER / "icon.svg",
            pwa=True,  # browsers offer to install the page: a window of its own, with this icon
            app_kwargs={"middleware": [middleware], "routes": [_PREVIEW, _FAR]},
            run_history=False,
            enable_monitoring=False,  # else whoever asks for it has its key printed
            ssr_mode=False,
            mcp_server=serve_tools(),
            **SERVER,
            prevent_thread_lock=True,
            server_port=int(port) if port else None,
            **options,
        )
    except OSError:
        taken = f"port {port} is taken" if port else "no port from 7860 on is free"
        raise SystemExit(f"error: {taken}. Choose another one, by --port or GRADIO_SERVER_PORT.") from None
    except KeyboardInterrupt:  # it ends before it has begun
        demo.close()
        raise SystemExit(0) from None
    check_routes(demo.app)
    if stays:
        threading.Thread(target=demo.ahead, name="ahead", daemon=True).start()
        if not getattr(sys, "ps1", sys.flags.interactive):  # where Gradio does not wait, either
            demo.block_thread()
    return launched


def _check_host(host: str) -> None:
    """Gradio would try each port of an address that this machine has not."""
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.bind(address)
    except OSError:
        advice = "Choose another one, by --host or GRADIO_SERVER_NAME."
        raise SystemExit(f"error: this machine has no address {host}. {advice}") from None


def _in_use(demo: Page) -> list[Path]:
    """What visitors still use. What nobody used for as long as files are kept goes from memory, too."""
    demo.forget(AGE)
    sampler_for.cache_clear()  # it is made again in a moment
    return Session.in_use()


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second signal ends it at once
    end = threading.Timer(_ENDED, _end)
    end.daemon = True
    end.start()
    drain(_DRAINING)
    time.sleep(1)  # the last results are sent
    raise KeyboardInterrupt


def _end() -> None:
    shutil.rmtree(upload_folder(), ignore_errors=True)
    os._exit(0)


def _loaded(engines: Engines, first_prior: str) -> tuple[str, str]:
    """The first prior that can be loaded, `first_prior` before all; and a message about those before it.

    Ends the program, with a message, where no prior can be loaded.
    """
    wrong = []
    for name in dict.fromkeys((first_prior, *engines.names())):
        try:
            engines.get(name)
            return name, " ".join(wrong)
        except (ValueError, OSError) as error:
            _log.error("the prior %s cannot be loaded: %s", name, error)
            wrong.append(f"The model {name} cannot be loaded: {message_of(error)}.")
    raise SystemExit("error: " + " ".join(wrong))


def _opened(tab: gr.Tab) -> Any:
    """When a tab was opened: only then is its content computed."""
    seen = new_signal()
    # The address follows: see `static/history.js`.
    opened = f"() => document.dispatchEvent(new CustomEvent('tab-opened', {{detail: '{tab.id}'}}))"
    on(tab.select, lambda session: setattr(session, "tab", tab.id), js=opened, signals=seen)
    return seen.change


class _LastPriors(dict[str, str]):
    """The last prior of each picker that could be loaded."""


def _prior_picker(
    engines: Engines, value: str, about: str, elem_id: str, label: str = "Model"
) -> tuple[Component, Any]:
    """The picker, and when another prior was chosen and loaded. After a refusal it shows the last good prior again."""
    chosen = new_signal()
    picker = gr.Dropdown(
        engines.names(),
        value=value,
        label=label,
        info=about,
        allow_custom_value=True,
        elem_id=elem_id,
        scale=0,
        min_width=260,
    )

    def choose(session: Session, name: str) -> Iterator[Updates]:
        last = session.state(_LastPriors)
        try:
            engines.get(name)
        except Exception:
            yield {picker: last.get(elem_id, value)}
            raise
        last[elem_id] = name

    on(picker.change, choose, picker, picker, signals=chosen)
    return picker, chosen.change
