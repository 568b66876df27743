"""The page gets all messages about its requests, in order, over a slow line as well (`static/stream.js`)."""

import pytest

from demo.static import static

from .conftest import EXAMPLES, opened
from .test_studio import upload, wait_status

# A server of Gradio's protocol in the page's own `fetch`: `serve.send` sends chunks on the last stream that was
# opened, and `serve.answer` answers a request that was made. `heard` is what the page reads.
SERVER = """
window.serve = {streams: [], joins: {}, status: 200};
window.fetch = async (what, how) => {
  if (new URL(what.url ?? what).pathname.endsWith('/queue/join'))
    return new Promise((done, fail) => { serve.joins[how.body] = {done, fail}; });
  let to;
  const body = new ReadableStream({start: controller => { to = controller; }});
  serve.streams.push(to);
  return new Response(body, {status: serve.status});
};
serve.send = (...chunks) => chunks.forEach(chunk => serve.streams.at(-1).enqueue(chunk));
serve.event = (msg, id, output) => new TextEncoder().encode(
  'data: ' + JSON.stringify({msg, event_id: id, output}) + '\\n\\n');
serve.answer = name => serve.joins[name].done(new Response(JSON.stringify({event_id: name})));
serve.close = () => { serve.send(serve.event('close_stream', null)); serve.streams.at(-1).close(); };
"""
# What Gradio's script does, as far as it matters here.
PAGE = """
window.heard = []; window.ended = '';
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
        heard.push([msg, event_id, output].filter(Boolean).join(' '));
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

    def run(script: str) -> tuple[list[str], str, int]:
        heard = page.evaluate(
            f"async () => {{ {SERVER} {static('stream.js')} {PAGE} {script}; await settle(); "
            "return [heard, ended, serve.streams.length]; }"
        )
        return heard[0], heard[1], heard[2]

    return run


BEGIN = "join('a'); await settle(); serve.answer('a'); await settle(); listen(); await settle();"


def test_a_message_about_an_unknown_request_waits_with_all_that_follow(play):
    heard, _, _ = play(
        BEGIN
        + """
        join('b'); await settle();
        serve.send(serve.event('process_generating', 'a', 1), serve.event('process_generating', 'b', 1));
        serve.send(serve.event('process_generating', 'a', 2), serve.event('process_completed', 'b', 2));
        await settle(); heard.push('now'); serve.answer('b')"""
    )
    expected = ["process_generating b 1", "process_generating a 2", "process_completed b 2"]
    assert heard == ["took a", "process_generating a 1", "now", "took b", *expected]


def test_a_request_during_the_close_gets_its_result(play):
    """The answer to the request overtakes the message of the close."""
    heard, ended, streams = play(
        BEGIN
        + """
        serve.send(serve.event('process_completed', 'a'));
        join('b'); await settle(); serve.answer('b'); await settle();
        serve.close(); await settle();
        serve.send(serve.event('process_completed', 'b'))"""
    )
    assert heard == ["took a", "process_completed a", "took b", "process_completed b"]
    assert (ended, streams) == ("", 2)


def test_one_stream_for_good_but_none_of_the_server_while_nothing_goes_on(play):
    heard, ended, streams = play(
        BEGIN
        + """
        serve.send(serve.event('process_completed', 'a')); serve.close(); await settle();
        heard.push(serve.streams.length);
        join('b'); await settle(); heard.push(serve.streams.length); serve.answer('b'); await settle();
        serve.send(serve.event('process_completed', 'b')); serve.close()"""
    )
    assert heard == ["took a", "process_completed a", 1, 1, "took b", "process_completed b"]
    assert (ended, streams) == ("", 2)


def test_a_proxy_that_ends_a_stream_takes_nothing_away(play):
    heard, ended, streams = play(
        BEGIN
        + """
        serve.send(serve.event('process_generating', 'a', 1)); serve.streams.at(-1).close(); await settle();
        serve.send(serve.event('process_completed', 'a'))"""
    )
    assert heard == ["took a", "process_generating a 1", "process_completed a"]
    assert (ended, streams) == ("", 2)


def test_chunks_are_joined_wherever_they_were_cut(play):
    heard, _, _ = play(
        BEGIN
        + """
        const chunk = serve.event('process_generating', 'a', 'λ/m …');
        chunk.forEach((_, at) => serve.send(chunk.slice(at, at + 1)));
        serve.send(serve.event('heartbeat', null))"""
    )
    assert heard == ["took a", "process_generating a λ/m …", "heartbeat"]


@pytest.mark.parametrize(
    "how",
    [
        "serve.streams.at(-1).error(new TypeError('lost'))",
        "serve.status = 404; serve.close()",
        "serve.streams.at(-1).close()",
    ],
    ids=["cut", "refused", "silent"],
)
def test_a_broken_line_is_an_error_and_a_new_one_works(play, how):
    heard, ended, _ = play(
        BEGIN
        + f"""
        {how}; await settle(); heard.push(ended); ended = '';
        serve.status = 200; join('b'); await settle(); serve.answer('b'); await settle(); listen(); await settle();
        serve.send(serve.event('process_completed', 'b'))"""
    )
    assert heard == ["took a", "broken", "took b", "process_completed b"] and ended == ""


def test_an_answer_that_never_comes_holds_nothing_up(play):
    heard, _, _ = play(
        BEGIN
        + """
        const lost = join('b').catch(() => heard.push('lost')); await settle();
        serve.send(serve.event('process_generating', 'b', 1), serve.event('process_generating', 'a', 1));
        await settle(); serve.joins.b.fail(new TypeError('no network')); await settle()"""
    )
    assert heard == ["took a", "lost", "process_generating b 1", "process_generating a 1"]


def test_a_refused_stream_is_refused_for_the_page(play):
    assert play("serve.status = 404; await listen()")[1] == "refused"


# Every chunk of the stream comes late, and no answer does.
SLOW = """
{
  const plain = window.fetch;
  window.fetch = async (what, how) => {
    const answer = await plain(what, how);
    if (!String(what.url ?? what).includes('/queue/data')) return answer;
    const late = new TransformStream({async transform(chunk, to) {
      await new Promise(done => setTimeout(done, 100));
      to.enqueue(chunk);
    }});
    return new Response(answer.body.pipeThrough(late), {status: answer.status, headers: answer.headers});
  };
}
"""


def test_the_studio_over_a_slow_line(page, served_small):
    page.add_init_script(SLOW)
    opened(page, served_small)
    upload(page, EXAMPLES["sepia"][:2], used=2)
    for seed in ("7", "8", "9"):
        page.fill("#seed input", seed)
        page.press("#seed input", "Enter")
        wait_status(page, f"seed {seed}")
    page.wait_for_url("**seed=9**")
