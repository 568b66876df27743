// The body of a function of `element`, `props`, `trigger`, `watch` and `copyLink`, after sprite.js: it holds player.html.
const SECONDS = 2.4, GAP = 4;  // from A to B while it plays; between pictures, in pixels of the sprite
const find = selector => element.querySelector(selector);
const canvas = find('canvas'), range = find('input'), button = find('.play'), link = find('.link');
let t = 0, sprite = null, shown = null, latest = 0, playing = false, direction = 1, before = 0, begun = false, next = 0;

const draw = () => {
  if (!shown) return;
  const {frames, cells, size} = shown, columns = cells === 4 ? 2 : Math.min(cells, 3), step = size + GAP;
  const width = columns * step - GAP, height = Math.ceil(cells / columns) * step - GAP;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const frame = Math.round(t * (frames - 1)), paint = canvas.getContext('2d');
  fade(paint, playing ? t * (frames - 1) : frame, from => {
    for (let i = 0; i < cells; i++) {
      const x = (i % columns) * step, y = Math.floor(i / columns) * step;
      paint.drawImage(sprite, i * size, from * size, size, size, x, y, size, size);
    }
  });
  const at = frame / Math.max(1, frames - 1), text = Math.round(100 * at) + ' %';
  range.value = frame;
  range.setAttribute('aria-valuetext', text + ' of the way from ' + shown.a + ' to ' + shown.b);
  find('output').textContent = text;
  canvas.dataset.frame = frame;
  canvas.setAttribute('aria-label', 'Faces at ' + text + ' of the way from ' + shown.a + ' to ' + shown.b);
};

const setPlaying = on => {
  playing = on;
  button.classList.toggle('playing', on);
  button.setAttribute('aria-label', on ? 'Pause' : 'Play');
  before = 0;
  cancelAnimationFrame(next);
  if (on) next = requestAnimationFrame(tick);
};
const tick = now => {
  if (!element.isConnected || element.offsetParent === null) return;  // until its tab is shown again, see below
  if (before) t += direction * Math.min(now - before, 100) / (1000 * SECONDS);
  before = now;
  if (t >= 1 || t <= 0) { direction = t >= 1 ? -1 : 1; t = t >= 1 ? 1 : 0; }
  draw();
  next = requestAnimationFrame(tick);
};
new IntersectionObserver(() => setPlaying(playing)).observe(canvas);
const goTo = place => { setPlaying(false); t = Math.min(1, Math.max(0, place)); draw(); };

const show = async () => {
  const value = props.value, version = ++latest, bitmap = value && await bitmapOf(value.sprite);
  if (version !== latest) return;
  if (value?.strip !== shown?.strip) find('.strips').innerHTML = value ? value.strip : '';  // made by the server
  shown = value; sprite = bitmap;
  find('.hint').hidden = Boolean(value);
  range.disabled = button.disabled = !value;
  link.disabled = !value?.linked;
  link.title = value && !value.linked ? 'Your photos are not in a link. Save a file instead.' : '';
  find('.end-a').textContent = value ? 'A: ' + value.a : 'A';
  find('.end-b').textContent = value ? 'B: ' + value.b : 'B';
  if (!value) {
    goTo(0);
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    canvas.setAttribute('aria-label', 'No picture yet');
    find('output').textContent = '';
    return;
  }
  range.max = value.frames - 1;
  draw();
  if (!begun && !calm.matches) setPlaying(true);
  begun = true;
};
show();
watch('value', show);

range.addEventListener('input', () => goTo(range.value / Math.max(1, shown.frames - 1)));
element.addEventListener('click', event => {
  if (event.target.closest('.play')) setPlaying(!playing);
  if (event.target === link) copyLink(link);
});
