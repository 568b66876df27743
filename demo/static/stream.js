// Gradio's page hears of what it asked for through a stream, which it opens when it asks and none is open, and which
// the server closes when nothing is left to tell. On a slow line or a busy phone two things go wrong with that, after
// which an old picture or an "updating…" stays on the page. What is asked for while the word of the close is under way
// is never heard of: the page takes its stream for open. And what is told of something before the page knows that it
// was taken is put aside, and then goes before what was told earlier.
// So here the page has one stream for good, behind which the server's are opened as they are needed, and what is told
// waits, with all that comes after, until the page knows of what it is.
{
  const plain = window.fetch.bind(window), bytes = new TextEncoder();
  const head = /^data:\s*\{"msg":\s*"(\w+)",\s*"event_id":\s*(?:"([^"]*)"|null)/;
  const going = new Set();  // ids of what was asked for and is not over
  let asking = 0, line = null;  // how many requests wait for their answer; the page's stream

  const pass = () => {
    while (line?.told.length) {
      const {text, id, over} = line.told[0];
      if (id && asking && !going.has(id)) return;
      line.told.shift();
      if (over) going.delete(id);
      line.page.enqueue(bytes.encode(text + '\n\n'));
    }
  };
  // Reads a stream of the server to its end, which the server or a proxy makes; whether anything was told.
  const read = async (own, body) => {
    let rest = '', heard = false;
    for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) return heard;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      for (const text of parts) {
        const [, message, id] = head.exec(text.slice(0, 300)) ?? [];
        heard = true;
        if (message !== 'close_stream') own.told.push({text, id, over: message === 'process_completed'});
      }
      if (line === own) pass();
    }
  };
  const follow = async (own, answer) => {
    own.followed = true;
    try {
      while ((answer || going.size) && line === own) {
        const {ok, status, body} = answer ?? await plain(own.request.clone());
        if (!ok) throw new Error('the stream is refused: ' + status);
        answer = null;
        if (!await read(own, body)) throw new Error('the stream tells nothing');
      }
      own.followed = false;
    } catch (error) {
      own.page.error(error);
      if (line === own) { line = null; going.clear(); }
    }
  };

  const join = async (what, how) => {
    asking++;
    let id;
    try {
      const answer = await plain(what, how), told = await answer.text();
      const reply = new Response(told, {status: answer.status, headers: answer.headers});
      // All that the page does with the answer is done before a timer runs.
      reply.json = async () => JSON.parse(told);
      if (answer.ok) id = JSON.parse(told).event_id;
      return reply;
    } finally {
      setTimeout(() => {
        asking--;
        if (id) going.add(id);
        pass();
        if (line && !line.followed && going.size) follow(line);
      });
    }
  };
  const listen = async request => {
    const answer = await plain(request.clone());
    if (!answer.ok) return answer;
    const own = {request, told: [], followed: false, page: null};
    const body = new ReadableStream({
      start: page => { own.page = page; },
      cancel: () => { if (line === own) line = null; },
    });
    line = own;
    follow(own, answer);
    return new Response(body, {status: answer.status, headers: answer.headers});
  };
  window.fetch = (what, how) => {
    const path = new URL(what.url ?? what, location.href).pathname;
    if (path.endsWith('/queue/join')) return join(what, how);
    return path.endsWith('/queue/data') ? listen(new Request(what, how)) : plain(what, how);
  };
}
