// The body of a function of `element`, `props`, `trigger` and `watch`, after sprite.js: it holds sheet.html.
// Ours, because Gradio's Gallery has a request for each picture, and cannot fade from one sheet to the next.
const MOST_PINS = 12;
const find = selector => element.querySelector(selector);
const picture = find('.stage img'), canvas = find('.stage canvas'), cells = find('.cells'), viewer = find('.viewer');
const compare = find('.compare');
let strip = null, sprite = null, stripVersion = 0, sheetVersion = 0, sample = null, pins = [], comparing = false;

// The sheet and what moves over it --------------------------------------------------------------------------------

const serves = () => sprite && props.value && props.value.strip === strip.serial;
const compares = () => serves() && strip.bare;  // the first strip comes without the samples of the model alone
const overlay = (at, text) => {
  const height = strip.height, paint = canvas.getContext('2d');
  if (canvas.width !== strip.width || canvas.height !== height) { canvas.width = strip.width; canvas.height = height; }
  fade(paint, at, frame => paint.drawImage(sprite, 0, frame * height, strip.width, height, 0, 0, strip.width, height));
  canvas.hidden = false;
  canvas.dataset.at = at.toFixed(3);
  find('.badge').hidden = !text;
  find('.badge').textContent = text;
};
const uncover = () => { canvas.hidden = true; find('.badge').hidden = true; };

const showSheet = async () => {
  const value = props.value;
  if (!value || (value.opening && location.search.length > 1)) return;  // the first samples are those of the address
  const version = ++sheetVersion;
  picture.src = value.src; picture.alt = value.alt; picture.hidden = false;
  await picture.decode().catch(() => {});
  if (version !== sheetVersion) return;
  find('.stage').style.aspectRatio = picture.naturalWidth + ' / ' + picture.naturalHeight;
  if (!comparing) uncover();
  compare.disabled = !compares();
  if (viewer.open && sample.index !== undefined) open(sample.index);  // a sample of the sheet that was there before
  if (cells.childElementCount === value.n && cells.style.getPropertyValue('--columns') == value.columns) return;
  cells.style.setProperty('--columns', value.columns);
  cells.replaceChildren(...Array.from({length: value.n}, (_, index) => {
    const cell = document.createElement('button');
    cell.type = 'button'; cell.tabIndex = index ? -1 : 0;
    cell.setAttribute('aria-label', 'Sample ' + (index + 1) + ' of ' + value.n);
    return cell;
  }));
};
showSheet();
watch('value', showSheet);

document.addEventListener('strip', async event => {
  const value = event.detail, version = ++stripVersion;
  if (!value) return;
  const bitmap = await bitmapOf(value.src);
  if (version !== stripVersion) return;
  strip = value; sprite = bitmap;
  compare.disabled = !compares();
});
// A slider moves: where the strip has these samples, the server gets no request.
document.addEventListener('scrub', event => {
  const {slider, at: lam} = event.detail;
  if (!serves() || strip.slider !== slider || strip.at.length < 2) return;
  event.preventDefault();
  if (Math.abs(lam - props.value.lam) < 0.005) { uncover(); return; }  // back at the λ/m of the sheet
  const at = strip.at, next = Math.max(1, at.findIndex(one => one >= lam)), low = at[next - 1], high = at[next];
  sheetVersion++;  // a sheet that was requested before is late
  overlay(next - 1 + Math.min(1, Math.max(0, (lam - low) / (high - low))), '');
});

// Hold to compare -------------------------------------------------------------------------------------------------

const hold = on => {
  if (on === comparing || (on && !compares())) return;
  comparing = on;
  compare.setAttribute('aria-pressed', String(on));
  if (on) overlay(strip.at.length, 'without your images'); else uncover();
};
compare.addEventListener('pointerdown', event => { compare.setPointerCapture(event.pointerId); hold(true); });
for (const end of ['pointerup', 'pointercancel', 'blur']) compare.addEventListener(end, () => hold(false));
compare.addEventListener('contextmenu', event => event.preventDefault());
const holds = event => {
  const typing = event.target.closest?.('input:not([type=range]), textarea, select, [contenteditable=true], dialog');
  const key = event.key.toLowerCase() === 'b' && !event.ctrlKey && !event.metaKey && !event.altKey && !typing;
  return element.offsetParent && (key || (event.target === compare && (event.key === ' ' || event.key === 'Enter')));
};
document.addEventListener('keydown', event => { if (holds(event)) { event.preventDefault(); hold(true); } });
document.addEventListener('keyup', event => { if (comparing && holds(event)) hold(false); });
window.addEventListener('blur', () => hold(false));

// One sample ------------------------------------------------------------------------------------------------------

const crop = index => {
  const {columns, cell, gap} = props.value, part = document.createElement('canvas');
  part.width = part.height = cell;
  const x = gap + (index % columns) * (cell + gap), y = gap + Math.floor(index / columns) * (cell + gap);
  part.getContext('2d').drawImage(picture, x, y, cell, cell, 0, 0, cell, cell);
  return part.toDataURL('image/jpeg', 0.92);
};
const showSample = value => {  // first cut from the sheet, and a moment later at full quality from the server
  sample = value;
  const image = viewer.querySelector('img'), complete = Boolean(value.name), link = viewer.querySelector('a');
  const closest = viewer.querySelector('.closest'), near = value.closest || {src: '', text: ''};
  closest.classList.toggle('off', !near.src);
  if (near.src) closest.firstChild.src = near.src;
  closest.lastChild.textContent = near.text;
  image.src = value.src; image.alt = value.text;
  viewer.querySelector('.text').textContent = value.text;
  for (const button of viewer.querySelectorAll('button.needs')) button.disabled = !complete;
  link.classList.toggle('off', !complete);
  if (complete) { link.href = value.src; link.download = value.name; } else link.removeAttribute('href');
  viewer.querySelector('[data-do=pin]').textContent = pins.some(pin => pin.src === value.src) ? 'Unpin' : 'Pin';
  for (const button of viewer.querySelectorAll('.across button')) button.hidden = value.index === undefined;
  if (!viewer.open) viewer.showModal();
};
const open = index => {
  const {n} = props.value, at = (index + n) % n;
  cells.childNodes.forEach((cell, other) => { cell.tabIndex = other === at ? 0 : -1; });
  showSample({index: at, src: crop(at), text: 'Sample ' + (at + 1) + ' of ' + n});
  trigger('expand', {index: at});
};
document.addEventListener('sample', event => {
  const value = event.detail;
  if (value && viewer.open && sample && sample.index === value.index) showSample(value);
});
const showPins = () => {
  find('.pins').hidden = !pins.length;
  find('.pins').replaceChildren(...pins.map((pin, pinned) => {
    const button = document.createElement('button'), image = document.createElement('img');
    button.type = 'button'; button.dataset.pin = pinned;
    image.src = pin.src; image.alt = 'pinned: ' + pin.text; image.width = image.height = 64;
    button.append(image);
    return button;
  }));
};
const blobOf = async one => (await fetch(one.src)).blob();
const report = text => { viewer.querySelector('.text').textContent = text; };
// It becomes evidence, or the photo to restyle, as if its file were dropped there.
const drop = async (tab, zone) => {
  const file = new File([await blobOf(sample)], sample.name, {type: 'image/png'});
  viewer.close();
  document.dispatchEvent(new CustomEvent('add-files', {detail: {tab, zone, files: [file]}}));
};
const actions = {
  close: () => viewer.close(),
  back: () => open(sample.index - 1),
  next: () => open(sample.index + 1),
  pin: () => {
    const others = pins.filter(pin => pin.src !== sample.src);
    pins = others.length < pins.length ? others : [...pins, {...sample, index: undefined}].slice(-MOST_PINS);
    showPins();
    showSample(sample);
  },
  apply: () => drop('Studio', '#evidence-files'),
  restyle: () => drop('Restyle', '#restyle-files'),
  copy: async () => {
    const blob = await blobOf(sample);
    try {
      await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
      report('Copied to the clipboard.');
    } catch { report('This browser does not let a page copy pictures. Download the picture instead.'); }
  },
};
viewer.addEventListener('click', event => {
  if (event.target === viewer) viewer.close();  // beside it
  actions[event.target.closest('button')?.dataset.do]?.();
});
viewer.addEventListener('keydown', event => {
  if (sample.index === undefined) return;
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -props.value.columns, ArrowDown: props.value.columns}[event.key];
  if (step) { event.preventDefault(); open(sample.index + step); }
});
viewer.addEventListener('close', () => cells.querySelector('[tabindex="0"]')?.focus());
element.addEventListener('click', event => {
  const pin = event.target.closest('[data-pin]'), cell = event.target.closest('.cells button');
  if (pin) showSample(pins[Number(pin.dataset.pin)]);
  if (cell && canvas.hidden) open([...cells.children].indexOf(cell));
});
cells.addEventListener('keydown', event => {
  const at = [...cells.children].indexOf(event.target), {n, columns} = props.value;
  const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
  if (!step || at + step < 0 || at + step >= n) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  cells.children[at + step].tabIndex = 0;
  cells.children[at + step].focus();
});
