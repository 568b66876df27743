// The body of a function of `element`, `props`, `trigger`, `watch`, `withPhotos` (photos.js) and `copyLink` (copy.js): it
// holds history.html.
// The address keeps the open tab and its state, and Back steps through the states of the Studio. A link opens the same
// state for another user.
// Ours, because Gradio's BrowserState knows neither Back nor a link.
const MOST = 10, TAB = 'studio';
const undo = element.querySelector('.undo'), dialog = element.querySelector('dialog');
const last = {};  // the query of each tab's address
// Storage of this tab of the browser, which may be blocked, has the Studio's for a reload on another tab (photos.js).
const remember = query => { last[TAB] = query; try { sessionStorage.setItem('studio', query); } catch { /* blocked */ } };
const first = location.search.includes('tab=') ? '' : location.search;  // of the samples that are on their way
let states = [], now = null, going = false;
let over = 0;  // what was asked for up to this request (stream.js) is over: the visitor stepped back since
let backs = 0;  // how often Undo was pressed since the browser last stepped back: it does so a moment later
// After a reload earlier states of one's own photos are gone: only the last one is kept.
if (new URLSearchParams(location.search).get('example') === 'own') history.replaceState({...history.state, depth: 0}, '');

// A new state is on its way: its value comes after its samples, and all else that shows it.
const coming = () => !props.value || document.querySelector('#evidence-status progress');
const depth = () => history.state?.depth ?? 0;  // how many states of this page Back can step through
const show = () => {
  const at = states.findIndex(state => state.id === now);
  undo.disabled = !depth();
  element.querySelector('.states').replaceChildren(...states.map((state, index) => {
    const button = document.createElement('button'), image = document.createElement('img');
    button.type = 'button'; button.title = state.text; button.dataset.index = index;
    if (index === at) button.setAttribute('aria-current', 'true');
    image.src = state.picture; image.alt = state.text; image.width = image.height = 44;
    button.append(image);
    return button;
  }));
};
// The first four samples, small. The sheet is decoded apart: see `sheet.js`.
const thumbnail = async () => {
  const sheet = new Image(), part = document.createElement('canvas');
  sheet.src = document.querySelector('#sheet .stage img').src;
  await sheet.decode().catch(() => {});
  part.width = part.height = 88;
  const side = Math.min(sheet.naturalWidth, sheet.naturalHeight, 2 * 132);
  part.getContext('2d').drawImage(sheet, 0, 0, side, side, 0, 0, 88, 88);
  return part.toDataURL('image/jpeg', 0.8);
};
// The tab of an entry of the browser's history; one inside another is there once that one is open.
const openTab = tab => {
  const at = () => document.querySelector(`[role=tab][data-tab-id="${tab}"]`);
  if (!at()?.offsetParent) document.querySelector('[role=tab][data-tab-id=behind]').click();
  requestAnimationFrame(() => at()?.click());
};
// The open entry of the browser's history becomes this one, unless it is already.
const set = (entry, url) => {
  if (JSON.stringify(entry) !== JSON.stringify(history.state)) history.replaceState(entry, '', url);
};
const keep = async entry => {
  if (entry.call <= over || (entry.known && entry.id !== now)) return;  // it was left again
  const url = '?' + entry.query, here = history.state, before = last[TAB];
  // The visitor went on to another tab meanwhile: that one is open at the new state.
  const away = !element.offsetParent && here && here.tab !== TAB ? here.tab : null;
  if (away && now !== null) set({tab: TAB, id: now, query: before, depth: depth()}, '?' + (before ?? ''));
  const saved = {tab: TAB, id: entry.id, query: entry.query, depth: depth()};
  remember(entry.query);
  if (here && here.id !== entry.id && now !== null && !going) history.pushState({...saved, depth: depth() + 1}, '', url);
  else set(saved, url);
  now = entry.id;
  going = false;
  if (away) replace(away);
  show();
  await new Promise(done => requestAnimationFrame(done));
  const state = {...entry, picture: await thumbnail()}, known = states.findIndex(one => one.id === entry.id);
  if (known < 0) states = [...states, state].slice(-MOST); else states[known] = state;
  show();
  if (dialog.open && !card) draw();  // newer samples may have put out what was asked of those before
};
watch('value', () => { if (props.value) keep(props.value); });
const ask = ({id, query}) => {
  over = Number(document.body.dataset.call);
  trigger('select', {id, query: withPhotos(query)});
};
const go = state => {
  now = state.id;
  remember(state.query);
  going = true;  // the next value is this state, with another id if the server has forgotten it
  show();
  ask(state);
};
window.addEventListener('popstate', event => {
  backs = 0;
  if (!event.state?.tab) return;
  if (event.state.tab !== TAB) {
    openTab(event.state.tab);
    show();
    return;
  }
  if (!element.offsetParent) document.querySelector('[role=tab]').click();
  go(event.state);
});
element.addEventListener('click', event => {
  const state = event.target.closest('[data-index]');
  // What is still on its way has no entry yet: without it, this entry is the last state.
  if (event.target === undo && !going && coming()) ask(history.state);
  else if (event.target === undo && backs++ < depth()) history.back();  // one more would leave the page
  if (state) ask(states[Number(state.dataset.index)]);
  if (event.target.matches('.share')) share();
  actions[event.target.dataset.do]?.(event.target);
});
// What was on its way when the line broke is lost.
document.addEventListener('line-lost', () => {
  const untouched = element.offsetParent || !navigator.userActivation?.hasBeenActive;
  if (now === null && !last[document.body.dataset.tab] && untouched) location.reload();  // nothing was shown yet
  else if (now !== null && coming()) ask({id: now, query: last[TAB]});
});
// Share: the server draws a card of the samples. Own photos are in no link.
const tick = dialog.querySelector('input'), shown = dialog.querySelector('img'), say = dialog.querySelector('p');
let card = null, asked = 0;
const draw = () => {
  card = null;
  shown.style.opacity = 0.3;
  trigger('download', {strip: tick.checked, host: location.host + location.pathname, asked: ++asked});
};
const share = () => {
  tick.checked = false;
  shown.removeAttribute('src');
  say.textContent = 'Drawing the picture …';
  dialog.querySelectorAll('[data-do]:not([data-do=close])').forEach(one => { one.hidden = true; });
  dialog.showModal();
  draw();
};
tick.addEventListener('change', draw);
document.addEventListener('card', ({detail}) => {
  if (!detail || detail.asked !== asked) return;  // an older one may show photos that are to stay out
  card = detail;
  if (card.src) { shown.src = card.src; shown.alt = card.title; shown.style.opacity = 1; }
  say.textContent = card.text;
  tick.parentNode.hidden = !card.images;
  const offered = card.src ? ['close', 'picture', card.own ? 'set' : 'link'] : ['close'];
  dialog.querySelectorAll('[data-do]').forEach(one => { one.hidden = !offered.includes(one.dataset.do); });
});
const actions = {
  close: () => dialog.close(),
  set: () => document.querySelector('#get-posterior').click(),
  picture: async () => {
    if (!card) return;  // it is drawn again
    const file = new File([await (await fetch(card.src)).blob()], card.name, {type: 'image/png'});
    if (matchMedia('(pointer: coarse)').matches && navigator.canShare?.({files: [file]})) {
      await navigator.share({files: [file], title: card.title}).catch(() => {});  // the user changed their mind
    } else Object.assign(document.createElement('a'), {href: card.src, download: card.name}).click();
  },
  link: copyLink,
};
// Other tabs: "address" brings the query of one, "tab-opened" its name.
let left = false;
const replace = tab => {
  left = true;
  set({tab, id: now, query: last[tab], depth: depth()}, '?' + (last[tab] ?? 'tab=' + tab));
};
document.addEventListener('address', event => {
  if (!event.detail) return;
  last[event.detail.tab] = event.detail.query;
  if (document.body.dataset.tab === event.detail.tab) replace(event.detail.tab);
});
document.addEventListener('tab-opened', ({detail}) => {
  // The tab inside that is open there says nothing, unless it is another one than before.
  const inside = detail === 'behind' && document.querySelector('#behind [role=tab][aria-selected=true]')?.dataset.tabId;
  if (now !== null || detail !== TAB) replace(inside || detail);
  else if (left) history.replaceState(null, '', location.pathname + first);  // back before the first samples
});
