"""How the page's events reach its handlers: one way for all, with the visitor's session in front."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.events import Dependency

from transflow_core.worker import Cancelled, owned_by, owned_steps

from .errors import refusing, warn
from .gradio_compat import data_of
from .session import Session

__all__ = ["on"]

_LOST = "This page was left alone for so long that what it was given is forgotten. Give it again, or load the page."


def on(
    triggers: Callable | Dependency | Sequence[Callable | Dependency],
    handler: Callable | None,
    inputs: Any = (),
    outputs: Any = (),
    *,
    event: bool = False,
    **options: Any,
) -> list[Dependency]:
    """Call `handler(session, *inputs)` when something happens. Gives what more can be done after.

    What the handler computes takes turns with what other visitors ask for, and it waits in no queue of Gradio's (see
    `queues`). What it refuses is told in words (`errors.refusing`). When it is Cancelled, all stays as it is.

    Args:
        triggers: events of components, such as `button.click`, and what an earlier `on` gave, to follow it: one or
            several.
        handler: gives {component: value}, where whatever is left out stays as it is; or yields such. None where `js`
            does it all.
        inputs, outputs: components, or one.
        event: call `handler(session, data, *inputs)`, with the event's own data, a dictionary that may hold anything.
        options: as for Gradio's events.
    """
    some = (triggers, inputs, outputs)
    triggers, inputs, outputs = ([*one] if isinstance(one, Sequence) else [one] for one in some)
    quiet = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple"}
    options = {"concurrency_limit": None, **quiet, **options}
    call = handler and _call(handler, event, bool(outputs))
    followed = [before.then(call, inputs, outputs, **options) for before in triggers if isinstance(before, Dependency)]
    events = [trigger for trigger in triggers if not isinstance(trigger, Dependency)]
    return [*followed, gr.on(events, call, inputs, outputs, **options)] if events else followed


def _call(handler: Callable, event: bool, answers: bool) -> Callable:
    """The function that Gradio is given; it finds what it must put in front of the inputs by its annotations."""
    nothing = gr.skip() if answers else None

    def prepared(request: gr.Request, values: Sequence[Any]) -> tuple[Session, Sequence[Any]]:
        session = Session.of(request)
        if session.lost:
            session.lost = False
            warn(_LOST)
        if event:
            values = [data_of(values[0]), *values[1:]]
        return session, values

    def answer(request: gr.Request, *values: Any) -> Any:
        session, inputs = prepared(request, values)
        try:
            with refusing(), owned_by(session.id):
                given = handler(session, *inputs)
        except Cancelled:
            return nothing
        return nothing if given is None or given == {} else given

    def steps(request: gr.Request, *values: Any) -> Iterator[Any]:
        session, inputs = prepared(request, values)
        with contextlib.suppress(Cancelled), refusing():
            for given in owned_steps(session.id, handler(session, *inputs)):
                yield nothing if given == {} else given
        # At the end of a generator Gradio says its last word again (and empties the outputs of one that said none). By
        # then what took its place may have said another: the "updating…" of work that was given up would stay.
        yield nothing

    call = steps if inspect.isgeneratorfunction(handler) else answer
    if event:
        first, rest = inspect.signature(call).parameters.values()
        second = inspect.Parameter("event", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.EventData)
        call.__signature__ = inspect.Signature([first, second, rest])
        call.__annotations__ = {"request": gr.Request, "event": gr.EventData}
    return call
