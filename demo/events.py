"""How the page's events reach its handlers: one function for all, with the visitor's session as the first argument."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.events import Dependency

from transflow_core.runtime.worker import Cancelled, as_client, steps_as_client

from .errors import refusing, warn
from .gradio_compat import data_of
from .session import Session

__all__ = ["Updates", "on"]

Updates = dict[Any, Any]
"""What a handler returns: the new value of each component, or an update of it."""
_EXPIRED = "Your session has expired. Add your images again, or reload the page."


def on(
    triggers: Callable | Dependency | Sequence[Callable | Dependency],
    handler: Callable | None,
    inputs: Any = (),
    outputs: Any = (),
    *,
    event: bool = False,
    **options: Any,
) -> list[Dependency]:
    """Call `handler(session, *inputs)` when something happens. Returns the triggers for what follows it.

    The handler's work is shared out with that of other visitors, and waits in no queue of Gradio's (see `queues`). A
    refusal is shown as a message (`errors.refusing`). When the handler is Cancelled, nothing changes.

    Args:
        triggers: events of components, such as `button.click`, and results of an earlier `on`, to follow it: one or
            several.
        handler: returns `Updates`, or yields them. A component that is not among them stays as it is. None where `js`
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
    """The function for Gradio, which reads from its annotations what to pass before the inputs."""
    nothing = gr.skip() if answers else None

    def prepared(request: gr.Request, values: Sequence[Any]) -> tuple[Session, Sequence[Any]]:
        session = Session.of(request)
        if session.expired:
            session.expired = False
            warn(_EXPIRED)
        if event:
            values = [data_of(values[0]), *values[1:]]
        return session, values

    def answer(request: gr.Request, *values: Any) -> Any:
        session, inputs = prepared(request, values)
        try:
            with refusing(), as_client(session.id):
                updates = handler(session, *inputs)
        except Cancelled:
            return nothing
        return nothing if updates is None or updates == {} else updates

    def steps(request: gr.Request, *values: Any) -> Iterator[Any]:
        session, inputs = prepared(request, values)
        with contextlib.suppress(Cancelled), refusing():
            for updates in steps_as_client(session.id, handler(session, *inputs)):
                yield nothing if updates == {} else updates
        # At the end of a generator Gradio sends its last updates again, and empties the outputs of one without any. A
        # newer request may have changed the page by then: the "updating…" of cancelled work would stay.
        yield nothing

    call = steps if inspect.isgeneratorfunction(handler) else answer
    if event:
        first, rest = inspect.signature(call).parameters.values()
        second = inspect.Parameter("event", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.EventData)
        call.__signature__ = inspect.Signature([first, second, rest])
        call.__annotations__ = {"request": gr.Request, "event": gr.EventData}
    return call
