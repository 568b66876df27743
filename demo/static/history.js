// The body of a function of `element`, `props`, `trigger` and `watch`: it holds history.html. The address keeps what is
// looked at, and Back steps through the states of the Studio; a link brings somebody else to the same.
const MOST = 10, PLACE = 'studio';
const undo = element.querySelector('.undo'), link = element.querySelector('.link');
const last = {};  // what each tab's address says
let states = [], now = null, going = false;

const show = () => {
  const at = states.findIndex(state => state.id === now);
  undo.disabled = at < 1;
  element.querySelector('.states').replaceChildren(...states.map((state, place) => {
    const button = document.createElement('button'), image = document.createElement('img');
    button.type = 'button'; button.title = state.words; button.dataset.place = place;
    if (place === at) button.setAttribute('aria-current', 'true');
    image.src = state.picture; image.alt = state.words; image.width = image.height = 44;
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
const keep = async told => {
  const sheet = document.querySelector('#sheet .stage img');
  await new Promise(done => requestAnimationFrame(done));
  await sheet.decode().catch(() => {});
  const url = '?' + told.query, here = history.state;
  const entry = {place: PLACE, id: told.id, query: told.query};
  last[PLACE] = told.query;
  if (here && here.id !== told.id && now !== null && !going) history.pushState(entry, '', url);
  else history.replaceState(entry, '', url);
  now = told.id;
  going = false;
  const state = {...told, picture: thumbnail()}, known = states.findIndex(one => one.id === told.id);
  if (known < 0) states = [...states, state].slice(-MOST); else states[known] = state;
  show();
};
watch('value', () => { if (props.value) keep(props.value); });
const go = state => {
  now = state.id;
  going = true;  // what comes is this entry, under another number where the server has forgotten it
  trigger('select', {id: state.id, query: state.query});
};
window.addEventListener('popstate', event => {
  if (event.state?.place !== PLACE) return;
  if (!element.offsetParent) document.querySelector('[role=tab]').click();
  go(event.state);
});
element.addEventListener('click', async event => {
  const state = event.target.closest('[data-place]');
  if (event.target === undo) history.back();
  if (state) trigger('select', states[Number(state.dataset.place)]);
  if (event.target !== link) return;
  try {
    await navigator.clipboard.writeText(location.href);
    link.textContent = 'Copied';
  } catch { link.textContent = 'See the address'; }  // a page that came by plain HTTP may not
  setTimeout(() => { link.textContent = 'Copy link'; }, 1500);
});
// Other tabs: "told" says what the address is to keep of one, "seen" that it came into view.
const replace = place => {
  history.replaceState({place, id: now, query: last[place]}, '', '?' + (last[place] ?? 'tab=' + place));
};
document.addEventListener('told', event => {
  if (!event.detail) return;
  last[event.detail.place] = event.detail.query;
  if (!element.offsetParent) replace(event.detail.place);
});
document.addEventListener('seen', event => { if (now !== null || event.detail !== PLACE) replace(event.detail); });
