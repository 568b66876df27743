"""The page gets all messages about its requests, in order, over a slow line as well (`static/stream.js`)."""

import contextlib
import threading
import time

import gradio as gr
import pytest

from demo.server.admission import EVENTS
from demo.server.events import number_last, on
from demo.static import static
from transflow_core.compute import check
from transflow_core.engine import Engine

from ..helpers import TIMEOUT
from .conftest import EXAMPLES, opened, says, through
from .test_studio import upload, wait_status

# A server of Gradio's protocol in the page's own `fetch`: `serve.send` sends chunks on the last stream that was
# opened, and `serve.answer` answers a request that was made. `heard` is what the page reads.
SERVER = """
window.serve = {streams: [], joins: {}, status: 200};
window.fetch = async (what, how) => {
  const path = new URL(what.url ?? what).pathname;
  if (path.endsWith('/app_id')) return new Response('{}');
  if (path.endsWith('/queue/join'))
    return new Promise((done, fail) => { serve.joins[how.body] = {done, fail}; });
  let to;
  const body = new ReadableStream({start: controller => { to = controller; }});
  serve.streams.push(to);
  return new Response(body, {status: serve.status});
};
serve.send = (...chunks) => chunks.forEach(chunk => serve.streams.at(-1).enqueue(chunk));
serve.event = (msg, id, output) => new TextEncoder().encode(
  'data: ' + JSON.stringify({msg, event_id: id, output}) + '\\n\\n');
serve.numbered = (id, number) => serve.event('process_generating', id, {data: ['', number], is_generating: true});
serve.answer = name => serve.joins[name].done(new Response(JSON.stringify({event_id: name})));
serve.close = () => { serve.send(serve.event('close_stream', null)); serve.streams.at(-1).close(); };
"""
# What Gradio's script does, as far as it matters here.
PAGE = """
window.heard = []; window.ended = '';
document.body.innerHTML = '<div id="last-answer"><div class="prose">0</div></div>';
const show = number => { document.querySelector('.prose').textContent = number; };
const settle = () => new Promise(done => setTimeout(done, 30));
const join = async name => {
  const answer = await fetch('http://page/queue/join', {method: 'POST', body: name});
  heard.push('took ' + (await answer.json()).event_id);
};
const listen = async () => {
  const answer = await fetch(new Request('http://page/queue/data'));
  if (!answer.ok) { ended = 'refused'; return; }
  let rest = '';
  try {
    for await (const value of answer.body.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + value).split('\\n\\n');
      rest = parts.pop();
      for (const part of parts) {
        const {msg, event_id, output} = JSON.parse(part.slice(6));
        const said = output?.data ? output.data.at(-1) : output?.error ?? output;
        heard.push([msg, event_id, said].filter(Boolean).join(' '));
      }
    }
    ended = 'closed';
  } catch (error) { ended = 'broken'; }
};
"""


@pytest.fixture
def play(kept_page):
    """`play(script)` runs the steps of a conversation. It returns the messages that the page got, how its stream ended,
    and how many streams the server had."""

    def blank(page):
        page.goto("about:blank")

    page = kept_page(blank, blank)
    return lambda script: page.evaluate(
        f"async () => {{ {SERVER} {static('stream.js')} {PAGE} {script}; await settle(); "
        "return [heard, ended, serve.streams.length]; }"
    )


BEGIN = "join('a'); await settle(); serve.answer('a'); await settle(); listen(); await settle();"


#: What happens, and then: what the page hears after it took the answer to a, and how many streams the server had, where
#: that is known.
CONVERSATIONS = {
    "a message about an unknown request waits, with all that follow": (
        """join('b'); await settle();
        serve.send(serve.event('process_generating', 'a', 1), serve.event('process_generating', 'b', 1));
        serve.send(serve.event('process_generating', 'a', 2), serve.event('process_completed', 'b', 2));
        await settle(); heard.push('now'); serve.answer('b')""",
        "process_generating a 1, now, took b, process_generating b 1, process_generating a 2, process_completed b 2",
        1,
    ),
    "a request during the close gets its result: its answer overtakes the message of the close": (
        """serve.send(serve.event('process_completed', 'a'));
        join('b'); await settle(); serve.answer('b'); await settle();
        serve.close(); await settle();
        serve.send(serve.event('process_completed', 'b'))""",
        "process_completed a, took b, process_completed b",
        2,
    ),
    "one stream for good, but none of the server while nothing goes on": (
        """serve.send(serve.event('process_completed', 'a')); serve.close(); await settle();
        heard.push(serve.streams.length);
        join('b'); await settle(); heard.push(serve.streams.length); serve.answer('b'); await settle();
        serve.send(serve.event('process_completed', 'b')); serve.close()""",
        "process_completed a, 1, 1, took b, process_completed b",
        2,
    ),
    "a proxy that ends a stream takes nothing away": (
        """serve.send(serve.event('process_generating', 'a', 1)); serve.streams.at(-1).close(); await settle();
        serve.send(serve.event('process_completed', 'a'))""",
        "process_generating a 1, process_completed a",
        2,
    ),
    "a request that does not come through is made again": (
        """join('b'); await settle();
        serve.send(serve.event('process_generating', 'b', 1), serve.event('process_generating', 'a', 1));
        await settle(); serve.joins.b.fail(new TypeError('no network')); delete serve.joins.b;
        while (!serve.joins.b) await settle(); serve.answer('b')""",
        "took b, process_generating b 1, process_generating a 1",
        1,
    ),
    "a request whose answer breaks off is made again": (
        """join('b'); await settle();
        serve.joins.b.done(new Response(new ReadableStream({start: end => end.error(new TypeError('lost'))})));
        delete serve.joins.b; while (!serve.joins.b) await settle(); serve.answer('b'); await settle();
        serve.send(serve.event('process_completed', 'b'))""",
        "took b, process_completed b",
        1,
    ),
    "a request that never comes through holds nothing up for good": (
        """join('b'); await settle();
        serve.send(serve.event('process_generating', 'b', 1), serve.event('process_generating', 'a', 1));
        while (heard.length < 3) {
          serve.joins.b?.fail(new TypeError('no network')); delete serve.joins.b; await settle();
        }""",
        "took undefined, process_generating b 1, process_generating a 1",
        1,
    ),
    "the answers to a request wait until those to another are shown": (
        """join('b'); await settle(); serve.answer('b'); await settle();
        serve.send(...[['a', 1], ['a', 2], ['b', 3], ['a', 4]].map(one => serve.numbered(...one)));
        for (const number of [1, 2, 3]) { await settle(); heard.push('shows ' + number); show(number); }""",
        "took b, process_generating a 1, process_generating a 2, shows 1, shows 2, process_generating b 3, shows 3, "
        "process_generating a 4",
        1,
    ),
    "an answer that is never shown does not hold up others for good": (
        """join('b'); await settle(); serve.answer('b'); await settle();
        serve.send(serve.numbered('a', 1), serve.numbered('b', 2));
        while (!heard.at(-1).includes('b 2')) await settle()""",
        "took b, process_generating a 1, process_generating b 2",
        1,
    ),
    "where the line breaks, what was being answered is over, and the stream stays": (
        """document.addEventListener('line-lost', () => heard.push('lost'));
        const status = document.body.appendChild(document.createElement('p')); status.className = 'working';
        serve.streams.at(-1).error(new TypeError('lost'));
        while (!heard.includes('lost')) await settle();
        heard.push('says ' + status.className + status.textContent);
        join('b'); await settle(); serve.answer('b'); await settle();
        serve.send(serve.event('process_completed', 'b'))""",
        "lost, process_completed a The connection was interrupted. Try again., says The connection was interrupted. "
        "Try again., took b, process_completed b",
        2,
    ),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_page_hears_all_in_order(play, conversation):
    script, expected, streams = CONVERSATIONS[conversation]
    heard, ended, opened = play(BEGIN + script)
    assert ", ".join(map(str, heard)) == "took a, " + expected
    assert ended == "" and streams in (None, opened)


def test_a_refused_stream_is_refused_for_the_page(play):
    assert play("serve.status = 404; await listen()")[1] == "refused"


# Every chunk of the stream comes late, and no answer does.
SLOW = through("""{async transform(chunk, to) {
  await new Promise(done => setTimeout(done, 100));
  to.enqueue(chunk);
}}""")
# `breaks()` breaks the stream, as in a tunnel.
BREAKS = through("{start: to => { window.breaks = () => to.error(new TypeError('gone')); }}")


def test_each_request_of_a_page_that_opens_has_a_number(page, served_small):
    """The first ones go through `stream.js` as well: on a slow line, what came after one that did not could be lost."""
    numbers = []
    page.on("request", lambda one: "/queue/join" in one.url and numbers.append(one.headers.get("x-call")))
    opened(page, served_small)
    assert numbers and numbers == [str(number) for number in range(1, len(numbers) + 1)]


def test_the_studio_over_a_slow_line(page, served_small):
    page.add_init_script(SLOW)
    opened(page, served_small)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.fill("#seed input", "7")
    page.press("#seed input", "Enter")
    wait_status(page, "seed 7")
    page.wait_for_url("**seed=7**")


WATCH = """() => {
  window.seen = [];
  const text = document.getElementById('text'), look = () => seen.push(text.innerText.trim());
  new MutationObserver(look).observe(text, {childList: true, characterData: true, subtree: true});
}"""
OVER = "() => seen.includes('one 2') && seen.includes('other')"


def test_no_older_answer_is_set_last(page, monkeypatch):
    """On a slow phone Gradio takes its time over fields that appear, and would set "one 2" after "other"."""
    monkeypatch.setattr(EVENTS, "timeout", None)  # nothing here says who listens
    with gr.Blocks() as blocks:
        one, other = gr.Button(elem_id="one"), gr.Button(elem_id="other")
        text, fields = gr.HTML(elem_id="text"), [gr.Textbox(visible=False) for _ in range(4)]

        def steps(session):
            while session._begun < 3:  # the other button is pressed
                time.sleep(0.01)
            for step in range(3):
                new = gr.Textbox(f"{step}", label=f"{step}", info=f"{step}", visible=True)
                yield {text: f"one {step}"} | dict.fromkeys(fields, new)

        on(one.click, steps, (), [text, *fields])
        on(other.click, lambda session: {text: "other"}, (), text)
        number_last(blocks)
    head = f"<script>{static('stream.js')}</script>"
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, head=head)
    with contextlib.closing(blocks):
        page.goto(url)
        page.click("#other")  # of a page's first events, one may overtake another on its way to the server
        page.wait_for_function("() => document.getElementById('text').innerText.trim() === 'other'")
        page.evaluate(WATCH)
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 20})
        page.click("#one")
        page.click("#other")
        page.wait_for_function(OVER)
        seen = page.evaluate("seen")
        page.goto("about:blank")  # else it complains that its server is gone
    assert seen[-1] == "other", seen


def test_a_line_that_is_gone_for_a_moment_takes_nothing_away(page, served_small):
    """Gradio would load the page anew: one's own photos and all earlier samples would be gone."""
    opened(page, served_small)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    page.evaluate("window.same = true")
    page.context.set_offline(True)
    with page.expect_event("requestfailed"):
        page.fill("#seed input", "1")
        page.press("#seed input", "Enter")
    page.context.set_offline(False)
    wait_status(page, "seed 1")
    assert page.evaluate("window.same") and page.locator("#evidence-cards .open").count() == 2


def test_a_line_that_breaks_in_tell_apart_leaves_the_page_and_nothing_to_stop(page, served_small, hold):
    page.add_init_script(BREAKS)
    page.goto(f"{served_small}/?tab=classify")
    page.fill("#classify-0-name textarea", "Mine")
    held = hold("encode")
    page.set_input_files("#classify-0-files input[type=file]", EXAMPLES["sepia"][:2])
    assert held.begun.wait(TIMEOUT)
    page.wait_for_selector("#classify-stop")
    page.evaluate("window.same = true; breaks()")
    page.locator(".toast-body", has_text="The connection was interrupted. Try again.").wait_for()
    page.wait_for_selector("#classify-stop", state="hidden")
    assert held.cancelled.wait(TIMEOUT)  # else its images come all the same, beside those that are dropped again
    held.go_on.set()
    page.set_input_files("#classify-0-files input[type=file]", EXAMPLES["sepia"][:2])
    says(page, "#classify-0", "2 examples")
    assert page.evaluate("window.same") and page.input_value("#classify-0-name textarea") == "Mine"


def test_a_line_that_breaks_while_samples_are_drawn_leaves_those_before(page, served_small, monkeypatch):
    page.add_init_script(BREAKS)
    opened(page, served_small)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    wait_status(page, "seed 0")
    page.evaluate("window.same = true")
    sample, lost = Engine.sample, threading.Event()

    def waits(engine, sampler, n, **how):
        while how["seed"] == 5 and not lost.wait(0.01):
            check(how["cancel"])
        return sample(engine, sampler, n, **how)

    monkeypatch.setattr(Engine, "sample", waits)
    page.fill("#seed input", "5")
    page.press("#seed input", "Enter")
    page.wait_for_function("document.querySelector('#samples-status').innerText.includes('updating')")
    page.evaluate("breaks()")
    page.get_by_text("The connection was interrupted. Try again.").first.wait_for()
    wait_status(page, "seed 0")
    lost.set()
    page.fill("#seed input", "6")
    page.press("#seed input", "Enter")
    wait_status(page, "seed 6")
    assert page.evaluate("window.same") and page.locator("#evidence-cards .open").count() == 2
