"""How the page's events reach its handlers: one function for all, with the visitor's session as the first argument."""

import contextlib
import inspect
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from transflow_core.runtime.worker import Cancelled

from ..gradio_compat import data_of, triggered
from .admission import EVENTS, Request, in_thread
from .errors import refusing
from .state import Session

Updates = dict[Any, Any]
"""What a handler returns: the new value of each component, or an update of it."""
_FORGOTTEN = "forgotten"
"""In place of an answer's number: the page opens anew, see `static/stream.js`."""
_END, _BY_USER = object(), ("input", "release")
_revisions: WeakKeyDictionary[gr.Blocks, gr.HTML] = WeakKeyDictionary()
_inputs: WeakSet[Component] = WeakSet()


class _Sent:
    """Values that the server sent to a visitor's page, where the browser may still show those from before.

    Gradio's script sets the outputs of an answer one after another. Meanwhile it may call the next handler, with values
    from before. So each answer has a number, which the script sends with each call. A value of a later answer replaces
    what the browser sends. The script sets the number after the values (`number_last`): not always on a busy machine.
    """

    def __init__(self) -> None:
        self._last: float = 0
        self._values: dict[Component, tuple[float, Any]] = {}
        self.moves: dict[Component, int] = {}  # the last event by which the user moved a component

    def keep(self, updates: Updates) -> float:
        """Keep the values of an answer. Returns its number."""
        self._last = revision = self._last + 1
        for component, update in updates.items():
            value = update.get("value") if isinstance(update, dict) else update
            if component in _inputs and isinstance(value, bool | int | float | str):
                self._values[component] = revision, value
        return revision

    def forgotten(self, seen: Any) -> bool:
        """Whether a browser shows an answer that came before this session began: it had another one, which is over."""
        return isinstance(seen, int | float) and seen > self._last

    def current(self, component: Component, value: Any, seen: Any) -> Any:
        """The value of a component for which a browser sent `value`, with the number of the answer that it set last."""
        revision, sent = self._values.get(component, (0, None))
        return sent if revision > (seen if isinstance(seen, int | float) else 0) else value


def on(
    triggers: Callable | Dependency | Sequence[Callable | Dependency],
    handler: Callable | None,
    inputs: Any = (),
    outputs: Any = (),
    *,
    event: bool = False,
    signals: gr.HTML | None = None,
    **options: Any,
) -> list[Dependency]:
    """Call `handler(session, *inputs)` when something happens. Returns the triggers for what follows it.

    The handler's work is shared out with that of other visitors, and waits in no queue of Gradio's (see `admission`). A
    refusal is shown as a message (`errors.refusing`). When the handler is Cancelled, nothing changes.

    Args:
        triggers: events of components, such as `button.click`, and results of an earlier `on`, to follow it: one or
            several.
        handler: returns `Updates`, or yields them. A function that returns a generator shows its last ones alone. A
            component that is not among them stays as it is. `with (yield session.queued(part)) as cancel` waits
            without a thread. None where `js` does it all.
        inputs, outputs: components, or one.
        event: call `handler(session, data, *inputs)`, where `data` is the event's own, of which each part may be
            anything.
        signals: a `new_signal` that changes once the handler is over, also where it was refused or Cancelled.
        options: as for Gradio's events.
    """
    some = (triggers, inputs, outputs)
    triggers, inputs, outputs = ([*one] if isinstance(one, Sequence) else [one] for one in some)
    quiet = {"show_progress": "hidden", "api_visibility": "private", "trigger_mode": "multiple"}
    options = {"concurrency_limit": None, **quiet, **options}
    call = handler
    if handler:
        by_script = "js" in options  # such a script knows nothing of the number
        by_user = [one.__self__ for one in triggers if getattr(one, "event_name", "") in _BY_USER]  # type: ignore
        # A preview is sent late, and may have an older value than the event that follows it.
        by_user = [one for one in by_user if one in inputs and options["trigger_mode"] != "always_last"]
        changed = [*outputs, *(one for one in by_user if one not in outputs), *([signals] if signals else [])]
        revision = _revision_of_page((*inputs, *changed)[0]) if inputs or changed else None
        call = _call(handler, event, None if by_script else inputs, by_user, revision if changed else None, signals)
        _inputs.update(inputs)
        if revision is not None:
            inputs = inputs if by_script else [*inputs, revision]
            outputs = changed and [*changed, revision]
            # Else Gradio's script tells each output of every event so far of each step, and copies all that it holds.
            options["show_progress_on"] = revision
    followed = [before.then(call, inputs, outputs, **options) for before in triggers if isinstance(before, Dependency)]
    events = [trigger for trigger in triggers if not isinstance(trigger, Dependency)]
    return [*followed, gr.on(events, call, inputs, outputs, **options)] if events else followed


def new_signal() -> gr.HTML:
    """A hidden component for `signals` of `on`: what follows several handlers follows its `change`, as one event.

    Gradio's `then` makes an event for each of them, 198 for this page. Its script compares each event with each part of
    the page, and took a tenth longer to open it.
    """
    return gr.HTML("", visible="hidden", label="Signal")


def _revision_of_page(component: Component) -> gr.HTML:
    """The hidden component with the number of the last answer, see `_Sent`, of the page that has this component."""
    page: Any = component
    while page.parent is not None:
        page = page.parent
    if page not in _revisions:
        # No gr.Number: Gradio would put it into one frame with a field beside it. `page.css` hides it.
        anew = f"watch('value', () => {{ if (props.value === '{_FORGOTTEN}') openAnew(); }})"
        _revisions[page] = gr.HTML(0, elem_id="last-answer", label="Last answer", js_on_load=anew)
    return _revisions[page]


def number_last(page: gr.Blocks) -> None:
    """Put the number of the last answer at the end of a page, within it, once all else is there.

    Gradio's script sets the parts of a page in their order, whatever that of the outputs, and hidden ones before all.
    """
    number = _revisions[page]
    number.unrender()
    number.render()


def _call(
    handler: Callable,
    event: bool,
    inputs: Sequence[Component] | None,
    by_user: Sequence[Component],
    revision: gr.HTML | None,
    signals: gr.HTML | None = None,
) -> Callable:
    """The function for Gradio, which reads from its annotations what to pass before the inputs.

    Args:
        handler, event: see `on`.
        inputs: the components of the values, where the number of the last answer comes after them.
        by_user: those of them that call it when the user moves them.
        revision: the component for the number of the answer, where there is one.
        signals: see `on`.
    """
    nothing = gr.skip() if revision is not None else None

    def current(session: Session, number: int, values: Sequence[Any], moved: Any) -> tuple[Sequence[Any], Updates]:
        """The values of now, and what the page has to set again.

        No answer is later than what the user has just moved, but one that is on its way will replace it in the page.
        """
        if not values or inputs is None:
            return values, {}
        sent, seen = session.state(_Sent), values[-1]
        given = dict(zip(inputs, values, strict=False))
        now = {one: sent.current(one, value, seen) for one, value in given.items()}
        own = {moved: given[moved]} if moved and now[moved] != given[moved] else {}
        return list((now | own).values()), own if sent.moves.get(moved) == number else {}

    def answered(session: Session, updates: Updates | None) -> Any:
        if not updates or revision is None:
            return nothing
        return updates | {revision: session.state(_Sent).keep(updates)}

    async def answers(session: Session, number: int, moved: Any, values: Sequence[Any]) -> AsyncGenerator[Any, None]:
        run, come = partial(in_thread, session.client), None
        await session.in_order(number)
        data = [data_of(values[0])] if event else []
        place = EVENTS.request(session.address, ("session", session.id), awaited=session.heard)
        with contextlib.suppress(Cancelled), refusing(), await place.admitted():
            session.heard = True
            async with contextlib.AsyncExitStack() as turn:
                await turn.enter_async_context(session.turn)
                session.call = number
                if revision is not None and inputs is not None and session.state(_Sent).forgotten(values[-1]):
                    yield {revision: _FORGOTTEN}
                    return
                given, again = current(session, number, values[len(data) :], moved)  # after the events before this one
                made = await run(handler, session, *data, *given)
                if not isinstance(made, Generator):
                    yield answered(session, again | (made or {}))
                    return
                if again:
                    yield answered(session, again)
                try:
                    while (updates := await run(_next, made, come)) is not _END:
                        if isinstance(updates, Request):
                            await turn.aclose()  # the visitor's next event begins once this one waits in its queue
                            come = await updates.admitted()
                        else:
                            come = None
                            yield answered(session, updates)
                finally:
                    if come is not None:
                        come.queue.remove(come)
                    await run(made.close)  # what nobody continues cancels its jobs

    async def steps(request: gr.Request, *values: Any) -> AsyncGenerator[Any, None]:
        session, text = Session.of(request), request.headers.get("x-call", "")  # see `static/stream.js`
        number = int(text) if text.isdecimal() and len(text) < 10 else 0
        if (moved := triggered(request.headers.get("x-trigger", ""), by_user)) is not None:
            moves = session.state(_Sent).moves
            moves[moved] = max(number, moves.get(moved, 0))

        def over() -> Any:
            return nothing if signals is None else answered(session, {signals: secrets.token_hex(8)})

        try:
            async with contextlib.aclosing(answers(session, number, moved, values)) as some:
                async for one in some:
                    yield one
        except gr.Error:
            yield over()
            raise
        # At the end of a generator Gradio sends its last updates again, and empties the outputs of one without any. A
        # newer request may have changed the page by then: the "updating…" of cancelled work would stay.
        yield over()

    async def answer(request: gr.Request, *values: Any) -> Any:
        some = [one async for one in steps(request, *values)]
        return some[-2:][0]  # the handler's last one, if there is one

    call = steps if signals or inspect.isgeneratorfunction(handler) else answer
    if event:
        first, rest = inspect.signature(call).parameters.values()
        second = inspect.Parameter("event", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.EventData)
        call.__signature__ = inspect.Signature([first, second, rest])
        call.__annotations__ = {"request": gr.Request, "event": gr.EventData}
    return call


def _next(steps: Generator[Any, Request | None, object], come: Request | None) -> Any:
    """The next updates of a handler, or what it waits for; `_END` where there are no more."""
    try:
        return steps.send(come)
    except StopIteration:
        return _END
