// Delegated listeners: what is shown is drawn anew at each change, the element that holds it stays.
const tell = ({dataset: {action, index}, value}) =>
  trigger(action === 'open' ? 'select' : 'edit', {action, index: Number(index), value: value ?? ''});
element.addEventListener('painted', ({target: {dataset: {index}}, detail}) =>
  tell({dataset: {action: detail.all ? 'masks' : 'mask', index}, value: detail.mask}));
let gone = null;
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  if (button.dataset.action === 'remove') {
    // A second click at the same spot would meet the image that came into the place of the first.
    const {clientX, clientY, timeStamp, detail} = event, last = gone;
    gone = event;
    if (detail && last && timeStamp - last.timeStamp < 1000
      && Math.hypot(clientX - last.clientX, clientY - last.clientY) < 8) return;
  }
  tell(button);
});
element.addEventListener('change', ({target}) => {
  if (!target.dataset.action) return;
  tell(target);
  if (!target.validity.valid) target.value = target.defaultValue;  // it is refused: what holds is shown again
});
element.addEventListener('keydown', event => {
  const {action, index} = event.target.dataset;
  if (event.key === 'Delete' && action === 'open' && !event.repeat) tell({dataset: {action: 'remove', index}});
  const close = event.key === 'Escape' && element.querySelector('.details [data-action=open], [aria-expanded=true]');
  if (close) {
    [...document.querySelectorAll('.cards [aria-expanded=true]')].find(one => one.offsetParent)?.focus();
    tell(close);
  }
});
// What had the focus is drawn anew as well: the same control takes it again, or the image that came into its place.
let held = null;
const places = () => [...element.querySelectorAll('[data-action]:not([tabindex="-1"].remove)')];
element.addEventListener('focusin', ({target}) => { held = target; });
element.addEventListener('focusout', ({relatedTarget}) => { if (relatedTarget) held = null; });
new MutationObserver(() => {
  if (!held || held.isConnected || document.activeElement !== document.body) return;
  const {dataset: {action, index}, value} = held;
  const same = places().filter(one => one.dataset.action === action);
  (same.find(one => one.dataset.index === index && (one.type === 'number' || one.value === value)) ?? same.at(-1))?.focus();
}).observe(element, {childList: true, subtree: true});
