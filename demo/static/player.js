// The body of a function of `element`, `props`, `trigger` and `watch`, after sprite.js: it holds player.html.
const SECONDS = 2.4, GAP = 4;  // from A to B while it plays; between pictures, in pixels of the sprite
const find = selector => element.querySelector(selector);
let t = 0, sprite = null, latest = 0, playing = false, direction = 1, before = 0, shownOnce = false, showOff = false;

const draw = () => {
  const value = props.value;
  if (!sprite || !value) return;
  const {frames, cells, size} = value, columns = cells === 4 ? 2 : Math.min(cells, 3);
  const rows = Math.ceil(cells / columns), canvas = find('canvas'), step = size + GAP;
  const width = columns * step - GAP, height = rows * step - GAP;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const frame = Math.round(t * (frames - 1)), paint = canvas.getContext('2d');
  fade(paint, playing ? t * (frames - 1) : frame, from => {
    for (let i = 0; i < cells; i++) {
      const x = (i % columns) * step, y = Math.floor(i / columns) * step;
      paint.drawImage(sprite, i * size, from * size, size, size, x, y, size, size);
    }
  });
  const at = frames > 1 ? frame / (frames - 1) : 0, text = 't = ' + at.toFixed(2), range = find('input');
  if (Number(range.value) !== frame) range.value = frame;
  range.setAttribute('aria-valuetext', text + ', from ' + value.a + ' to ' + value.b);
  find('output').textContent = text;
  canvas.dataset.frame = frame;
  canvas.setAttribute('aria-label', 'Draws at ' + text + ' between ' + value.a + ' and ' + value.b);
  element.querySelectorAll('.playhead').forEach(head => {
    const steps = Number(head.dataset.steps);
    head.style.left = (100 * (at * (steps - 1) + 0.5) / steps) + '%';
  });
  // A strip that is wider than its box scrolls along.
  element.querySelectorAll('.scroll').forEach(scroll => {
    scroll.scrollLeft = at * (scroll.scrollWidth - scroll.clientWidth);
  });
};

const setPlaying = on => {
  playing = on;
  const button = find('button.play');
  button.classList.toggle('playing', on);
  button.setAttribute('aria-label', on ? 'Pause' : 'Play');
  before = 0;
  if (on) requestAnimationFrame(tick);
};

const tick = now => {
  if (!playing) return;
  if (!element.isConnected || element.offsetParent === null) { setPlaying(false); return; }
  if (before) t += direction * Math.min(now - before, 100) / (1000 * SECONDS);
  before = now;
  if (t >= 1) { t = 1; direction = -1; }
  if (t <= 0) {
    if (showOff && direction < 0) { showOff = false; setPlaying(false); }  // once there and back, for the first picture
    t = 0; direction = 1;
  }
  draw();
  requestAnimationFrame(tick);
};

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;  // never as HTML: the text may hold names of files
  return made;
};

const buildStrips = value => {
  find('.strips').replaceChildren(...value.strips.map(strip => {
    const figure = make('figure', 'strip'), scroll = make('div', 'scroll'), inner = make('div', 'inner');
    const labels = make('div', 'labels'), frame = make('div', 'frame'), picture = make('img');
    const head = make('div', 'playhead');
    inner.style.setProperty('--steps', strip.labels.length);
    strip.labels.forEach(text => labels.append(make('span', '', text)));
    picture.src = strip.src; picture.alt = strip.alt; picture.width = strip.width; picture.height = strip.height;
    picture.draggable = false;
    head.dataset.steps = strip.labels.length;
    frame.dataset.steps = strip.labels.length;
    frame.append(picture, head);
    inner.append(labels, frame);
    scroll.tabIndex = 0;
    scroll.setAttribute('role', 'group');
    scroll.setAttribute('aria-label', strip.title + ', the strip');
    scroll.append(inner);
    const caption = make('figcaption');
    caption.append(make('b', '', strip.title + '. '), strip.caption);
    figure.append(caption, scroll);
    return figure;
  }));
};

const show = async () => {
  const value = props.value, version = ++latest, empty = !value || !value.sprite;
  find('.hint').hidden = !empty;
  find('input').disabled = find('button.play').disabled = empty;
  if (empty) {
    setPlaying(false);
    sprite = null; t = 0; direction = 1;
    const canvas = find('canvas');
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    canvas.setAttribute('aria-label', 'No picture yet');
    find('.cell-names').replaceChildren();
    find('.strips').replaceChildren();
    find('output').textContent = 't = 0.00';
    find('.end-a').textContent = 'A'; find('.end-b').textContent = 'B';
    return;
  }
  const bitmap = await bitmapOf(value.sprite);
  if (version !== latest) return;
  sprite = bitmap;
  find('input').max = value.frames - 1;
  find('.end-a').textContent = 'A: ' + value.a; find('.end-b').textContent = 'B: ' + value.b;
  find('.cell-names').replaceChildren(...value.labels.map(text => make('span', '', text)));
  buildStrips(value);
  draw();
  if (!shownOnce && !calm.matches) { showOff = true; setPlaying(true); }
  shownOnce = true;
};

element.addEventListener('click', event => {
  if (!event.target.closest('button.play')) return;
  showOff = false;
  setPlaying(!playing);
});
element.addEventListener('input', event => {
  if (!event.target.matches('input[type=range]')) return;
  showOff = false;
  setPlaying(false);
  t = Number(event.target.value) / Math.max(1, props.value.frames - 1);
  draw();
});
const point = event => {
  const frame = event.target.closest && event.target.closest('.strip .frame');
  if (!frame) return;
  const box = frame.getBoundingClientRect(), steps = Number(frame.dataset.steps);
  showOff = false;
  setPlaying(false);
  t = Math.min(1, Math.max(0, ((event.clientX - box.left) / box.width * steps - 0.5) / (steps - 1)));
  draw();
};
element.addEventListener('click', point);
element.addEventListener('pointermove', event => {
  if (event.pointerType === 'mouse' && event.buttons === 1) point(event);
});
show();
watch('value', show);
