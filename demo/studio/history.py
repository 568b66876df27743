"""What a visitor saw before: the last ten states, to go back to, and the address that each of them has."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from transflow_core.limits import MOST_IMAGES
from transflow_core.recipes import Method, Sample
from transflow_core.views import to_link

from ..session import Session
from ..static import static
from .settings import DEFAULT, Asked, Settings
from .sheet import words_of

__all__ = ["NOTHING", "OPENING", "Past", "address_of", "history", "settings_in", "told"]

OPENING, NOTHING = "red_hair", "none"
"""The example set that the page opens with; and what an address says in its place when there is none."""
_MOST = 10


class Past:
    """A visitor's last states: ten of them, of no more different pieces of evidence than one place may have.

    Example:
        >>> from transflow_core.intake import Intake
        >>> past, asked = Past(), Asked(Intake(), "celeba128", Settings())
        >>> past.keep(asked) == past.keep(asked), past.get(past.keep(asked)) is asked
        (True, True)
    """

    def __init__(self) -> None:
        self._states: OrderedDict[int, Asked] = OrderedDict()
        self._last = 0

    def keep(self, asked: Asked) -> int:
        """Its number: that of an equal one that is still known."""
        for known in self._states.values():
            if known.intake is not asked.intake:
                known.intake.forget()
        for number, known in self._states.items():
            if known == asked:
                self._states[number] = asked  # by whom the method was chosen may differ
                return number
        self._last += 1
        self._states[self._last] = asked
        while len(self._states) > _MOST or (len(self._states) > 1 and self._images() > MOST_IMAGES):
            self._states.popitem(last=False)
        return self._last

    def get(self, number: object) -> Asked | None:
        """The state of that number, while it is known."""
        return self._states.get(number) if isinstance(number, int) else None

    def _images(self) -> int:
        return len({id(image) for asked in self._states.values() for image in asked.intake.evidence})


def history() -> gr.HTML:
    """Undo, pictures of the last states, and "Copy link". Its value is `told`'s; `select` tells of a state to go to."""
    return gr.HTML(
        None,
        html_template=static("history.html"),
        js_on_load=static("history.js"),
        elem_id="history",
        label="The last states",
    )


def told(session: Session, asked: Asked, first_prior: str) -> dict[str, Any]:
    """What `history` is given of a state that is whole."""
    number = session.of_kind(Past).keep(asked)
    # The numbers of another session, which browsers keep with the address, mean something else.
    key = f"{session.id}/{number}"
    return {"id": key, "query": address_of(asked, first_prior), "words": words_of(asked)}


def settings_in(query: dict[str, str]) -> Settings:
    """The settings in an address, of this version or an earlier one. Raises ValueError for what is none."""
    recipe = Sample.from_texts({name: text for name, text in query.items() if name != "prior"})
    auto = recipe.method == "auto"
    method = DEFAULT.choices if auto else recipe.choices
    draws = recipe.temperature, recipe.n, recipe.seed, recipe.structure, recipe.style, recipe.style_levels
    return Settings.checked(method, *draws, auto=auto)


def address_of(asked: Asked, first_prior: str) -> str:
    """What an address keeps of a state: all but files of one's own. What stands as the page opens is left out."""
    recipe = asked.settings.recipe
    if asked.settings.auto:
        recipe = recipe.replace(**dict(Method()))
    kept = {} if asked.prior == first_prior else {"prior": asked.prior}
    told = urlencode(kept | {"example": asked.intake.example or NOTHING}, safe="/")
    return "&".join(filter(None, (to_link(recipe), told)))
