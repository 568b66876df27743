"""The last ten states of a visitor, to go back to, and the address of each."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from transflow_core.limits import MOST_IMAGES
from transflow_core.recipes import Method, Reading, Sample
from transflow_core.views import to_link

from ..server.state import Session
from ..static import static
from .settings import DEFAULT, Request, Settings
from .sheet import description_of

__all__ = ["NOTHING", "OPENING", "History", "address_of", "history_bar", "history_entry", "settings_in"]

OPENING, NOTHING = "red_hair", "none"
"""The example set that the page opens with; and its value in an address without an example set."""
_MOST = 10


class History:
    """A visitor's last states: ten of them, with no more different images in all than one panel may have.

    Example:
        >>> from transflow_core.evidence import Evidence
        >>> history, request = History(), Request(Evidence(), "celeba128", Settings())
        >>> history.keep(request) == history.keep(request), history.get(history.keep(request)) is request
        (True, True)
    """

    def __init__(self) -> None:
        self._states: OrderedDict[int, Request] = OrderedDict()
        self._last = 0

    def keep(self, request: Request) -> int:
        """Keep a state. Returns its number, which is that of an equal earlier state."""
        for known in self._states.values():
            if known.evidence is not request.evidence:
                known.evidence.forget()
        for number, known in self._states.items():
            if known == request:
                self._states[number] = request  # `auto` may differ
                return number
        self._last += 1
        self._states[self._last] = request
        while len(self._states) > _MOST or (len(self._states) > 1 and self._images() > MOST_IMAGES):
            self._states.popitem(last=False)
        return self._last

    def get(self, number: object) -> Request | None:
        """The state of a number, while it is kept."""
        return self._states.get(number) if isinstance(number, int) else None

    def _images(self) -> int:
        return len({id(image) for request in self._states.values() for image in request.evidence})


def history_bar() -> gr.HTML:
    """Undo, pictures of the last states, and "Copy link". Its value is a `history_entry`; `select` returns to one."""
    return gr.HTML(
        None,
        html_template=static("history.html"),
        js_on_load=static("history.js"),
        elem_id="history",
        label="The last states",
    )


def history_entry(session: Session, request: Request, first_prior: str) -> dict[str, Any]:
    """The value of `history_bar` for a finished request."""
    number = session.state(History).keep(request)
    # Browsers keep it with the address. The same number of another session is another state.
    key = f"{session.id}/{number}"
    return {"id": key, "query": address_of(request, first_prior), "text": description_of(request)}


def settings_in(query: dict[str, str]) -> Settings:
    """The settings in an address, of this version or an earlier one. Raises ValueError for an invalid one."""
    recipe = Sample.from_texts({name: text for name, text in query.items() if name != "prior"})
    auto = recipe.method == "auto"
    values = {name: value for name, value in recipe if name not in (*Method.model_fields, *Reading.model_fields)}
    return Settings.checked(DEFAULT.choices if auto else recipe.choices, values, auto)


def address_of(request: Request, first_prior: str) -> str:
    """The address of a state: all values that differ from the defaults, but for the user's own files."""
    recipe = request.settings.recipe
    if request.settings.auto:
        recipe = recipe.replace(**dict(Method()))
    values = {} if request.prior == first_prior else {"prior": request.prior}
    values["example"] = request.evidence.example or NOTHING
    return "&".join(filter(None, (to_link(recipe), urlencode(values, safe="/"))))
