// Files on their way to the server. Gradio's button shows nothing while it sends them, so a card at the foot of the page
// says how far they are, and stops them; or why they were not sent, and sends them again.
const sending = (() => {
  const plain = window.fetch.bind(window), PATIENCE = 300;  // milliseconds: most files are sent by then
  let card = null;
  // A text; with a part, a bar and a button that stops the work; else one that does it again.
  const show = (text, act, part) => {
    if (!card) {
      card = document.createElement('div');
      card.id = 'sending';
      card.innerHTML = '<span role="status"></span><progress max="1" aria-label="sent"></progress><button type="button"></button>'
        + '<button type="button">Close</button>';
      document.querySelector('#title').parentElement.append(card);  // Gradio keeps a page's styles within the page
      card.lastChild.onclick = () => show('');
    }
    const [words, bar, button, close] = card.children, works = part !== undefined;
    card.hidden = !text;
    if (words.textContent !== text) words.textContent = text;
    bar.hidden = !works;
    bar.value = part ?? 0;
    button.textContent = works ? 'Stop' : 'Try again';
    button.onclick = act;
    close.hidden = works;
  };
  // How far a work is, once it takes long.
  const following = (text, stop) => {
    let late = false, part = 0;
    const soon = setTimeout(() => { late = true; show(text, stop, part); }, PATIENCE);
    return {
      at: now => { part = now; if (late) show(text, stop, part); },
      end: () => { clearTimeout(soon); if (late) show(''); },
    };
  };
  const named = files => files.length === 1 ? files[0].name : `${files.length} files`;

  // XMLHttpRequest, since `fetch` does not say how much is sent. What was not sent is never answered: Gradio's button would
  // say it once more, in the words of a program.
  const send = (url, {body, headers}) => new Promise(done => {
    const files = [...body.values()];
    const attempt = () => {
      if (card) show('');  // what the last one said
      const request = new XMLHttpRequest(), work = following(`Sending ${named(files)} …`, () => request.abort());
      const failed = why => {
        work.end();
        show(`${files.length === 1 ? 'The file was' : 'The files were'} not sent. ${why}`, attempt);
      };
      request.open('POST', url);
      new Headers(headers).forEach((value, name) => request.setRequestHeader(name, value));
      request.upload.onprogress = ({loaded, total}) => work.at(loaded / total);
      request.onabort = () => work.end();
      request.onerror = () => failed('The line broke.');
      request.onload = () => {
        const {status, response} = request;
        if (status < 400) {
          work.end();
          done(new Response(response, {status}));
        } else {
          try { failed(JSON.parse(response).detail); } catch { failed(`The server answered ${status}.`); }
        }
      };
      request.send(body);
    };
    attempt();
  });
  window.fetch = (what, how) => {
    const {pathname, search} = new URL(what.url ?? what, location.href);
    const ofButton = pathname.endsWith('/upload') && !search;  // the others show what they send
    return ofButton && how?.body instanceof FormData ? send(what, how) : plain(what, how);
  };

  // A telephone's photographs, where only faces are used and the server is another machine: to send them takes longest. A
  // face keeps more pixels than a model has, unless it is small among many. What the browser cannot read stays as it is.
  const SIDE = 2560, LARGE = 1_500_000;
  const here = !far && ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  const made = async file => {
    const image = new Image();  // it is drawn upright, which a bitmap is not in every browser
    image.src = URL.createObjectURL(file);
    try {
      await image.decode();
      const {naturalWidth: width, naturalHeight: height} = image, scale = SIDE / Math.max(width, height);
      if (scale >= 1) return file;
      const canvas = new OffscreenCanvas(Math.round(scale * width), Math.round(scale * height)), paint = canvas.getContext('2d');
      paint.imageSmoothingQuality = 'high';
      paint.drawImage(image, 0, 0, canvas.width, canvas.height);
      const blob = await canvas.convertToBlob({type: 'image/jpeg', quality: 0.9});
      return blob.size < file.size ? new File([blob], file.name, {type: blob.type}) : file;
    } catch { return file; } finally { URL.revokeObjectURL(image.src); }
  };
  const large = ({size, type}) => !here && size > LARGE && /^image\/(jpeg|hei[cf])$/.test(type);
  const lighter = async files => {
    let stopped = false;
    const all = [], work = following(`Preparing ${named(files)} …`, () => { stopped = true; });
    for (const file of files) {  // one at a time: a photograph takes 50 MB
      all.push(large(file) ? await made(file) : file);
      work.at(all.length / files.length);
      if (stopped) break;
    }
    work.end();
    return stopped ? [] : all;
  };
  return {here, areHeavy: files => files.some(large), lighter};
})();
