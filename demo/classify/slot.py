"""One class of the Classify tab: its name, its drop zone, its examples."""

from __future__ import annotations

import gradio as gr

from transflow_core.evidence import Evidence
from transflow_core.images import IMAGE_SUFFIXES
from transflow_core.limits import CLASS_NAME_LENGTH, CLASSES_ON_PAGE

from ..evidence_panel import ImageList
from ..server.events import Updates
from ..server.priors import Engines
from ..server.state import Session
from .render import examples_count

__all__ = ["FEWEST", "Slot", "default_name", "drop_label"]

FEWEST = int(CLASSES_ON_PAGE.low)


class Slot(ImageList):
    """Build it inside the current Blocks.

    Args:
        engines: the priors that the page serves.
        panel: key of the session's evidence; prefix of the ids of its components.
        index: of the class; the first two are shown from the start.

    Attributes:
        box, name, remove, files: its components.
        parts: all of them.
        events: when an example was removed, or another face was chosen.
    """

    def __init__(self, engines: Engines, panel: str, index: int) -> None:
        self.box = gr.Column(
            elem_id=panel, elem_classes="class-slot takes-around", min_width=150, visible=index < FEWEST
        )
        with self.box:
            with gr.Row(equal_height=True, elem_classes="class-head"):
                self.name = gr.Textbox(
                    default_name(index),
                    label=f"Name of class {index + 1}",
                    show_label=False,
                    container=False,
                    max_length=CLASS_NAME_LENGTH,
                    elem_id=f"{panel}-name",
                    min_width=60,
                )
                self.remove = gr.Button(
                    f"Remove class {index + 1}",
                    size="sm",
                    min_width=30,
                    scale=0,
                    interactive=False,
                    elem_id=f"{panel}-remove",
                    elem_classes="cross",
                )
            self.files = gr.File(
                label=drop_label(default_name(index)),
                file_count="multiple",
                file_types=sorted(IMAGE_SUFFIXES),
                height=72,
                elem_id=f"{panel}-files",
                elem_classes="small-drop takes-files",
            )
            self._count = gr.HTML(examples_count(Evidence()), elem_classes="status", label="Examples")
            super().__init__(engines, panel, weighted=False)
        shown = [self._count, self._cards, self._details]
        self.parts = [self.box, self.name, self.remove, self.files, *shown]
        self.events = self._wire(shown)

    def shown(self, session: Session) -> Updates:
        """The examples."""
        return self._images(session) | {self._count: examples_count(self.evidence(session))}

    def _show(self, session: Session, reading: str = "") -> Updates:
        return self.shown(session) | ({self._count: reading} if reading else {})


def default_name(index: int) -> str:
    """The name of a class until the user names it."""
    return f"Class {index + 1}"


def drop_label(name: str) -> str:
    """The label of a class's drop zone."""
    return f"+ images of {name}"
