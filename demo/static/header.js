// "For researchers" opens and closes the side panel, which stays as it was left; `?lab=1` opens it.
const button = element.querySelector('.lab'), KEY = 'transflow-lab';
const panel = () => document.querySelector('#lab'), toggle = () => panel()?.querySelector('.toggle-button');
const stored = work => { try { return work(localStorage); } catch { return null; } };  // it may be blocked
const keep = () => requestAnimationFrame(() => {
  const open = panel().classList.contains('open');
  button.setAttribute('aria-expanded', String(open));
  stored(store => store.setItem(KEY, open ? 'open' : ''));
});
document.addEventListener('click', event => { if (event.target.closest('#lab .toggle-button')) keep(); });
button.addEventListener('click', () => {
  element.querySelector('#links:popover-open')?.hidePopover();
  toggle().click();
});
const wanted = new URLSearchParams(location.search).has('lab') || stored(store => store.getItem(KEY));
let tries = 0;
const open = () => {  // on a busy machine the button is there before it does anything
  if (panel()?.classList.contains('open') || ++tries > 600) return;
  toggle()?.click();
  requestAnimationFrame(open);
};
if (wanted) open();
