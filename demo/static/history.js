// The body of a function of `element`, `props`, `trigger` and `watch`: it holds history.html. The address keeps the open
// tab and its state, and Back steps through the states of the Studio. A link opens the same state for another user.
// Ours, because Gradio's BrowserState knows neither Back nor a link.
const MOST = 10, TAB = 'studio';
const undo = element.querySelector('.undo'), link = element.querySelector('.link');
const last = {};  // the query of each tab's address
let states = [], now = null, going = false;

const show = () => {
  const at = states.findIndex(state => state.id === now);
  undo.disabled = at < 1;
  element.querySelector('.states').replaceChildren(...states.map((state, index) => {
    const button = document.createElement('button'), image = document.createElement('img');
    button.type = 'button'; button.title = state.text; button.dataset.index = index;
    if (index === at) button.setAttribute('aria-current', 'true');
    image.src = state.picture; image.alt = state.text; image.width = image.height = 44;
    button.append(image);
    return button;
  }));
};
// The first four samples, small.
const thumbnail = () => {
  const sheet = document.querySelector('#sheet .stage img'), part = document.createElement('canvas');
  part.width = part.height = 88;
  const side = Math.min(sheet.naturalWidth, sheet.naturalHeight, 2 * 132);
  part.getContext('2d').drawImage(sheet, 0, 0, side, side, 0, 0, 88, 88);
  return part.toDataURL('image/jpeg', 0.8);
};
const keep = async entry => {
  const sheet = document.querySelector('#sheet .stage img');
  await new Promise(done => requestAnimationFrame(done));
  await sheet.decode().catch(() => {});
  const url = '?' + entry.query, here = history.state;
  const saved = {tab: TAB, id: entry.id, query: entry.query};
  last[TAB] = entry.query;
  if (here && here.id !== entry.id && now !== null && !going) history.pushState(saved, '', url);
  else history.replaceState(saved, '', url);
  now = entry.id;
  going = false;
  const state = {...entry, picture: thumbnail()}, known = states.findIndex(one => one.id === entry.id);
  if (known < 0) states = [...states, state].slice(-MOST); else states[known] = state;
  show();
};
watch('value', () => { if (props.value) keep(props.value); });
const go = state => {
  now = state.id;
  going = true;  // the next value is this state, with another id if the server has forgotten it
  trigger('select', {id: state.id, query: state.query});
};
window.addEventListener('popstate', event => {
  if (event.state?.tab !== TAB) return;
  if (!element.offsetParent) document.querySelector('[role=tab]').click();
  go(event.state);
});
element.addEventListener('click', async event => {
  const state = event.target.closest('[data-index]');
  if (event.target === undo) history.back();
  if (state) trigger('select', states[Number(state.dataset.index)]);
  if (event.target !== link) return;
  try {
    await navigator.clipboard.writeText(location.href);
    link.textContent = 'Copied';
  } catch { link.textContent = 'See the address'; }  // a page over plain HTTP may not copy
  setTimeout(() => { link.textContent = 'Copy link'; }, 1500);
});
// Other tabs: "address" brings the query of one, "tab-opened" its name.
const replace = tab => {
  history.replaceState({tab, id: now, query: last[tab]}, '', '?' + (last[tab] ?? 'tab=' + tab));
};
document.addEventListener('address', event => {
  if (!event.detail) return;
  last[event.detail.tab] = event.detail.query;
  if (!element.offsetParent) replace(event.detail.tab);
});
document.addEventListener('tab-opened', event => { if (now !== null || event.detail !== TAB) replace(event.detail); });
