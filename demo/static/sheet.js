// The body of a function of `element`, `props`, `trigger` and `watch`, after sprite.js: it holds sheet.html.
// Ours, because Gradio's Gallery has a request for each picture, and cannot fade from one sheet to the next.
const MOST_PINS = 12;
const find = selector => element.querySelector(selector);
const picture = find('.stage img'), cells = find('.cells'), large = find('.large'), face = find('.large img');
const canvases = [find('.stage canvas'), find('.large canvas')], compare = find('.compare'), badge = find('.badge');
let sheet = null, strip = null, sprite = null, stripVersion = 0, sheetVersion = 0, at = 0, full = null, sample = null, pins = [];
let comparing = false, left = null;

// The sheet and what moves over it --------------------------------------------------------------------------------

const serves = () => sheet && sprite && props.value && props.value.strip === strip.serial;
const compares = () => serves() && strip.bare;
const show = text => { badge.hidden = !text; badge.textContent = text; };
// Where a sample is on the sheet; `scale` is 1/2 on a sprite.
const place = (index, scale = 1) => {
  const {columns, cell, gap} = props.value, step = cell + gap;
  return [gap + (index % columns) * step, gap + Math.floor(index / columns) * step, cell, cell].map(one => one * scale);
};
const overlay = (position, text) => {
  const {width, height} = strip, [x, y, side] = place(at, width / sheet.width);
  const shown = [[canvases[0], 0, 0, width, height], [canvases[1], x, y, side, side]];
  if (sample && sample.index === undefined) shown.pop();  // a pinned face stays: it may be of another sheet
  shown.forEach(([canvas, left, top, wide, high]) => {
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const paint = canvas.getContext('2d');
    fade(paint, position, frame => paint.drawImage(sprite, left, frame * height + top, wide, high, 0, 0, wide, high));
    canvas.hidden = false;
  });
  canvases[0].dataset.at = position.toFixed(3);
  show(text);
};
const uncover = () => { for (const canvas of canvases) canvas.hidden = true; show(''); };

const showSheet = async () => {
  const value = props.value;
  if (!value || (value.opening && location.search.length > 1)) return;  // the first samples are those of the address
  // Without images there is nothing to be close to. On a new page the sheet may come before the slider.
  document.getElementById('closeness-range')?.toggleAttribute('disabled', !value.strip && !value.opening);
  const version = ++sheetVersion;
  at = Math.min(value.large ?? at, value.n - 1);  // now: the sample in full may come before the sheet is decoded
  picture.src = value.src; picture.alt = value.alt; picture.hidden = false;
  // Decoded apart: in Firefox an image that gets another address has the pixels of the last one for a while.
  const [decoded] = await Promise.all([bitmapOf(value.src), picture.decode().catch(() => {})]);
  if (version !== sheetVersion) return;
  sheet = decoded;
  const {width, height} = sheet;
  find('.stage').style.aspectRatio = width + ' / ' + height;
  find('[data-do=apply]').textContent = value.own ? 'Add it to your pictures' : 'Start from this picture';
  if (!comparing) uncover();
  compare.disabled = !compares();
  const {n, columns} = value;
  if (cells.childElementCount !== n || cells.style.getPropertyValue('--columns') != columns) {
    cells.style.setProperty('--columns', columns);
    cells.replaceChildren(...Array.from({length: n}, (_, index) => {
      const cell = document.createElement('button');
      cell.type = 'button';
      cell.setAttribute('aria-label', 'Face ' + (index + 1) + ' of ' + n);
      return cell;
    }));
  }
  // On a phone each cell shows its own part of the sheet.
  cells.style.setProperty('--sheet', `url("${value.src}")`);
  cells.childNodes.forEach((cell, index) => {
    const [x, y, side] = place(index);
    cell.style.backgroundSize = `${100 * width / side}% ${100 * height / side}%`;
    cell.style.backgroundPosition = `${100 * x / (width - side)}% ${100 * y / (height - side)}%`;
  });
  choose(at);
};
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
  const {slider, at: position} = event.detail;
  if (!serves() || strip.slider !== slider || strip.at.length < 2) return;
  event.preventDefault();
  const {at: now} = props.value;
  // Back where the sheet is: its numbers are rounded, by 0.006 of the slider at most.
  if (now !== null && Math.abs(position - now) < 0.0075) { uncover(); return; }
  const all = strip.at, next = Math.max(1, all.findIndex(one => one >= position)), low = all[next - 1], high = all[next];
  sheetVersion++;  // a sheet that was requested before is late
  overlay(next - 1 + Math.min(1, Math.max(0, (position - low) / (high - low))), '');
});

// Without the evidence: hold a button, B, or the large face ---------------------------------------------------------

const hold = on => {
  if (on === comparing || (on && !compares())) return;
  comparing = on;
  compare.setAttribute('aria-pressed', String(on));
  if (on) overlay(strip.at.length, 'without your pictures'); else uncover();
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

// One face, large ---------------------------------------------------------------------------------------------------

const crop = index => {
  const part = document.createElement('canvas');
  part.width = part.height = props.value.cell;
  part.getContext('2d').drawImage(sheet, ...place(index), 0, 0, part.width, part.height);
  return part.toDataURL('image/jpeg', 0.92);
};
const showFace = value => {  // first cut from the sheet, and a moment later at full quality from the server
  sample = value;
  canvases[1].hidden ||= value.index === undefined;  // pinned: what covers the sheet is not this face
  const complete = Boolean(value.name), near = complete && value.closest;
  face.src = value.src; face.alt = value.text; face.hidden = false;
  find('.closest').classList.toggle('off', !near);
  if (near) {
    find('.closest').title = near.text;
    find('.closest span').textContent = near.label;
    find('.closest img').src = near.src; find('.closest img').alt = near.text;
    find('.closest b').textContent = near.distance;
  }
  for (const button of element.querySelectorAll('.needs')) {
    if (!complete && button === document.activeElement) left = button;
    button.disabled = !complete;
  }
  for (const button of element.querySelectorAll('[data-do=more], [data-do=larger]')) {
    button.disabled ||= value.index === undefined;  // pinned, and perhaps of another sheet
  }
  find('[data-do=pin]').textContent = pins.some(pin => pin.src === value.src) ? 'Let it go' : 'Keep it in sight';
  if (complete && left) {  // it lost the focus as it was disabled
    if (document.activeElement === document.body) left.focus();
    left = null;
  }
  if (comparing && compares()) overlay(strip.at.length, badge.textContent);
};
const choose = index => {
  const {n, sheet, opening} = props.value;
  at = (index + n) % n;
  cells.childNodes.forEach((cell, other) => {
    cell.tabIndex = other === at ? 0 : -1;
    if (other === at) cell.setAttribute('aria-current', 'true'); else cell.removeAttribute('aria-current');
  });
  // The row of a phone, and not the page.
  const row = find('.stage'), {left, right} = row.getBoundingClientRect(), one = cells.children[at]?.getBoundingClientRect();
  if (one) row.scrollLeft += Math.min(one.left - left, 0) + Math.max(one.right - right, 0);
  if (full && full.sheet === sheet && full.index === at) return showFace(full);
  showFace({index: at, src: crop(at), text: 'Face ' + (at + 1) + ' of ' + n});
  return !opening;
};
// The server knows which face is large, and sends it after each sheet.
const move = index => { if (props.value && choose(index)) trigger('expand', {index: at}); };
document.addEventListener('sample', event => {
  full = event.detail;
  if (full && full.index !== at) return trigger('expand', {index: at});  // the page chose another one meanwhile
  if (full && sample?.index === full.index && props.value.sheet === full.sheet) showFace(full);
});
showSheet();

const step = event => ({ArrowLeft: -1, ArrowRight: 1, ArrowUp: -props.value?.columns, ArrowDown: props.value?.columns})[event.key];
document.addEventListener('keydown', event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;  // the browser's own: Back, say
  const {target} = event, by = step(event), mine = target === document.body || target === large || cells.contains(target);
  if (!by || !mine || !element.offsetParent || !props.value) return;
  if (target === document.body && Math.abs(by) > 1) return;  // it scrolls the page
  event.preventDefault();
  if (at + by >= 0 && at + by < props.value.n) move(at + by);
  if (cells.contains(target)) cells.children[at].focus();
});
// A finger swipes to the next face, or to the one before, and holds to compare.
let press = null;
large.addEventListener('pointerdown', ({clientX}) => {
  press = {x: clientX, wait: setTimeout(() => { press.held = true; hold(true); }, 400)};
});
const lift = ({type, pointerType, clientX}) => {
  clearTimeout(press?.wait);
  hold(false);
  const way = clientX - press?.x;
  if (type === 'pointerup' && pointerType !== 'mouse' && Math.abs(way) > 40) move(at + (way < 0 ? 1 : -1));
};
for (const end of ['pointerup', 'pointercancel', 'pointerleave']) large.addEventListener(end, lift);
large.addEventListener('contextmenu', event => { if (press?.held) event.preventDefault(); });
large.addEventListener('click', () => {
  if (!press?.held) move(at + 1);
  press = null;
});

const showPins = () => {
  find('.pins').hidden = !pins.length;
  find('.pins').replaceChildren(...pins.map((pin, pinned) => {
    const button = document.createElement('button'), image = document.createElement('img');
    button.type = 'button'; button.dataset.pin = pinned;
    image.src = pin.src; image.alt = 'kept: ' + pin.text; image.width = image.height = 44;
    button.append(image);
    return button;
  }));
};
const blobOf = async one => (await fetch(one.src)).blob();
const report = text => { show(text); setTimeout(() => { if (!comparing) show(''); }, 3000); };
// It becomes evidence, or the photo to restyle, as if its file were dropped there.
const drop = async (tab, zone) => {
  const file = new File([await blobOf(sample)], sample.name, {type: 'image/png'});
  document.dispatchEvent(new CustomEvent('add-files', {detail: {tab, zone, files: [file]}}));
};
const actions = {
  save: () => Object.assign(document.createElement('a'), {href: sample.src, download: sample.name}).click(),
  zip: () => trigger('download', {kind: 'zip'}),
  sheet: () => trigger('download', {kind: 'sheet'}),
  larger: () => {
    document.querySelector('#face-larger').click();
    document.querySelector('#morph-row').scrollIntoView({block: 'center'});  // its progress
  },
  pin: () => {
    const others = pins.filter(pin => pin.src !== sample.src);
    pins = others.length < pins.length ? others : [...pins, {...sample, index: undefined}].slice(-MOST_PINS);
    showPins();
    showFace(sample);
  },
  apply: () => drop('Studio', '#evidence-files'),
  restyle: () => drop('Restyle', '#restyle-files'),
  more: () => document.dispatchEvent(new CustomEvent('more-like-this', {detail: sample.index})),
  copy: async () => {
    try {  // at once, with the picture to come: Safari copies nothing after a wait
      await navigator.clipboard.write([new ClipboardItem({'image/png': blobOf(sample)})]);
      report('Copied to the clipboard.');
    } catch { report('This browser does not let a page copy pictures. Save the picture instead.'); }
  },
};
element.addEventListener('click', event => {
  const pin = event.target.closest('[data-pin]'), cell = event.target.closest('.cells button');
  if (pin) showFace(pins[Number(pin.dataset.pin)]);
  if (cell) move([...cells.children].indexOf(cell));
  actions[event.target.closest('button')?.dataset.do]?.();
});
// A menu closes with a click anywhere, and with Escape.
const fold = menu => {
  if (menu.contains(document.activeElement)) menu.firstElementChild.focus();  // else the focus is lost
  menu.open = false;
};
document.addEventListener('click', ({target}) => {
  for (const menu of element.querySelectorAll('.menu[open]')) if (!menu.firstElementChild.contains(target)) fold(menu);
});
element.addEventListener('keydown', event => {
  const menu = event.key === 'Escape' && event.target.closest('.menu[open]');
  if (menu) fold(menu);
});
