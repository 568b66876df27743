"""A picture four times larger: what makes it, on the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from transflow_core.engine import Engine
from transflow_core.images.output import save_png
from transflow_core.operations.enlarging import FACTS, INSTALL, can_enlarge, enlarge_picture

from ..controls import Working, send
from ..server.admission import CancelToken
from ..server.events import Updates, on
from ..server.state import Session

Picture = Callable[[CancelToken], tuple[Image.Image, dict[str, str]]]
"""Makes a picture and the text of its file."""
LABEL = "Four times larger"
OFF = f"<p>Four times larger: off. The operator of this server can switch it on by <code>{INSTALL}</code></p>"
"""The text in the place of the button where it is not installed, as HTML."""


class Larger:
    """Build a button that enlarges a picture inside the current Blocks. The browser downloads the file then.

    Args:
        of: the model of the picture, and what makes it. Raises ValueError while there is none.
        part: prefix of the ids of its components.
        working: shows the progress; its own by default.
        options: as for gr.Button.

    Attributes:
        name: of the file in the visitor's folder.
        made: when it was written.
        working: shows the progress.
    """

    def __init__(
        self,
        of: Callable[[Session], tuple[Engine, Picture]],
        part: str,
        working: Working | None = None,
        **options: Any,
    ) -> None:
        self._of, self.name = of, f"{part}_large.png"
        button = gr.Button(LABEL, elem_id=f"{part}-larger", interactive=can_enlarge(), **options)
        self.working = working = working or Working(f"{part}-larger")
        self._file = gr.DownloadButton(visible="hidden", elem_id=f"{part}-larger-file")
        self.made = on(button.click, self._run, (), [working.output, self._file])
        send(self.made, self._file)

    def _run(self, session: Session) -> Iterator[Updates]:
        with (yield session.queued(self.working.part, newest=True)) as cancel:
            started, (engine, make) = time.perf_counter(), self._of(session)
            yield self.working.says("Enlarging …", True) | {self._file: None}

            def large(**how: Any) -> tuple[Image.Image, dict[str, str]]:
                image, facts = make(cancel)
                return enlarge_picture(engine, image, **how), facts | FACTS

            made = yield from self.working.run(large, cancel, engine, "parts")
            if made is None:
                return
            (picture, facts), path = made, session.file(self.name)
            save_png(picture, part := path.with_suffix(".part"), metadata=facts)
            part.replace(path)  # it is whole, whoever reads it
            text = f"{picture.width} × {picture.height} pixels in {time.perf_counter() - started:.0f} s. "
            yield self.working.says(f"{text}The finest detail is invented.") | {self._file: str(path)}
