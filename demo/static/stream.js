// Gradio's page receives the results of its requests through a stream. The page opens it with a request when none is
// open, and the server closes it when no request is left. On a slow line or a busy phone three things go wrong, and an
// old picture or an "updating…" stays on the page. First, the page never gets the result of a request that it makes
// while the message of the close is on its way, because it believes that its stream is open. Second, the page sets aside
// a message about a request whose id it does not know yet, and later handles it before messages that came earlier.
// Third, it sets an answer in steps. Meanwhile it may begin with the answer to another request, though an older answer
// to the first one still waits: that one is then set last.
// So here the page has one stream for good, and opens the server's streams behind it as needed. A message waits, with
// all that come after, until the page knows the id of its request and has set the answers to other requests.
// Where the line is gone for a moment, as in a tunnel, Gradio's page loads itself anew, and all that is in it is lost.
// Here a request is made again for some seconds; the server knows one that it has already (`middleware.py`). What was
// being answered is over: the page hears so, and returns to its last state (history.js).
{
  const plain = window.fetch.bind(window), bytes = new TextEncoder();
  const head = /^data:\s*\{"msg":\s*"(\w+)",\s*"event_id":\s*(?:"([^"]*)"|null)/;
  const going = new Set();  // ids of requests that are not finished
  // Each request has a number: on its way to the server one may overtake another. It also says what the user moved.
  let calls = 0;
  let joining = 0, line = null;  // how many requests wait for their answer; the page's stream
  // Each answer ends with its number (`server/events.py`), which the page shows once it has set the rest.
  const numbered = /[,[](\d+)\]*,\s*"is_generating"/;
  const patience = 2000;  // milliseconds: an answer that the page cannot show holds up no others
  let last = null, again = 0;  // the answer that was passed last; a timer

  const pause = wait => new Promise(done => setTimeout(done, wait));
  const LOST = 'The connection was interrupted. Try again.';
  let doubt = false;  // whether another server may have come meanwhile, which knows nothing of this page
  // The server was started again, or has forgotten this page. A reload brings the photos that the browser keeps.
  window.openAnew = () => {
    try { sessionStorage.setItem('anew', 'yes'); } catch { /* it is blocked */ }
    location.reload();
  };
  const tried = async (url, ask) => {
    for (let wait = 500; ; wait *= 2) {
      try {
        if (doubt) {
          const answer = await plain(new URL('../app_id', url));
          if (!answer.ok) throw new Error('no server answers: ' + answer.status);
          const {app_id} = await answer.json();
          if (app_id !== window.gradio_config?.app_id) openAnew();
          doubt = false;
        }
        return await ask();
      } catch (error) {
        doubt = true;
        if (wait > 4000 || error.name === 'AbortError') throw error;
        await pause(wait);
      }
    }
  };

  const shown = () => !last || document.querySelector('#last-answer .prose')?.textContent === last.number ||
    performance.now() > last.until;
  const pass = () => {
    while (line?.messages.length) {
      const {text, id, over, number} = line.messages[0];
      if (id && joining && !going.has(id)) return;
      if (id !== last?.id && !shown()) { clearTimeout(again); again = setTimeout(pass, 5); return; }
      line.messages.shift();
      if (over) going.delete(id);
      if (number) last = {id, number, until: performance.now() + patience};
      line.page.enqueue(bytes.encode(text + '\n\n'));
    }
  };
  let leaving = false;  // the page is left, unless the browser finds a file or nothing at the new address
  addEventListener('beforeunload', () => { leaving = true; setTimeout(() => { leaving = false; }, 10000); });
  // The line broke. What the server was answering is lost: it drops that. The browser breaks the line of a page that is
  // left as well, and says so a moment later.
  const lose = async own => {
    do await pause(500); while (leaving);
    doubt = true;
    [...going].forEach((id, index) => {
      const output = {error: LOST, visible: !index};  // said once
      const message = {msg: 'process_completed', event_id: id, success: false, output};
      own.messages.push({text: 'data: ' + JSON.stringify(message), id, over: true});
    });
    pass();
    document.dispatchEvent(new Event('line-lost'));
    for (const one of document.querySelectorAll('.updating, .working')) { one.className = ''; one.textContent = LOST; }
    return true;
  };
  // Reads a stream of the server until the server or a proxy ends it. Returns whether there was any message.
  const read = async (own, body) => {
    let rest = '', any = false;
    for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) return any;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      for (const text of parts) {
        const [, message, id] = head.exec(text.slice(0, 300)) ?? [];
        const [, number] = numbered.exec(text.slice(Math.max(0, text.lastIndexOf('"is_generating"') - 40))) ?? [];
        any = true;
        if (message !== 'close_stream') own.messages.push({text, id, number, over: message === 'process_completed'});
      }
      if (line === own) pass();
    }
  };
  const follow = async (own, answer) => {
    own.followed = true;
    try {
      while ((answer || going.size) && line === own) {
        const {ok, status, body} = answer ?? await tried(own.request.url, () => plain(own.request.clone()));
        if (!ok) throw new Error('the stream is refused: ' + status);
        answer = null;
        if (!await read(own, body).catch(() => lose(own))) throw new Error('the stream is empty');
      }
      own.followed = false;
    } catch (error) {
      own.page.error(error);
      if (line === own) { line = null; going.clear(); }
    }
  };

  const join = async (what, how) => {
    joining++;
    let id;
    try {
      const headers = new Headers(how?.headers ?? what.headers);
      headers.set('x-call', document.body.dataset.call = ++calls);
      headers.set('x-trigger', /"trigger_id":(\d+)/.exec(how?.body?.slice?.(-300))?.[1] ?? '');
      const ask = async () => {
        const answer = await plain(what, {...how, headers});
        return [answer, await answer.text()];
      };
      const refused = () => [new Response('', {status: 429}), JSON.stringify({detail: LOST})];
      const [answer, text] = await tried(new URL(what.url ?? what, location.href), ask).catch(refused);
      const reply = new Response(text, {status: answer.status, headers: answer.headers});
      // The page handles the answer before a timer runs.
      reply.json = async () => JSON.parse(text);
      if (answer.ok) id = JSON.parse(text).event_id;
      return reply;
    } finally {
      setTimeout(() => {
        joining--;
        if (id) going.add(id);
        pass();
        if (line && !line.followed && going.size) follow(line);
      });
    }
  };
  const listen = async request => {
    const answer = await tried(request.url, () => plain(request.clone()));
    if (!answer.ok) return answer;
    const own = {request, messages: [], followed: false, page: null};
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
