// Ours, because Gradio's Gallery has no weight, no faces and no warning of one picture.
// Delegated listeners: each change replaces the contents, and the element around them stays.
const send = ({dataset: {action, index, name}, value}) =>
  trigger(action === 'open' ? 'select' : 'edit', {action, index: Number(index), name, value: value ?? ''});
element.addEventListener('painted', ({target: {dataset: {index}}, detail}) =>
  send({dataset: {action: detail.all ? 'masks' : 'mask', index}, value: detail.mask}));
let removal = null;
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-action]');
  if (!button) return;
  if (button.dataset.action === 'remove') {
    // A second click at the same spot would remove the next image, which has moved there.
    const {clientX, clientY, timeStamp, detail} = event, last = removal;
    removal = event;
    if (detail && last && timeStamp - last.timeStamp < 1000
      && Math.hypot(clientX - last.clientX, clientY - last.clientY) < 8) return;
  }
  send(button);
});
element.addEventListener('change', ({target}) => {
  if (!target.dataset.action) return;
  send(target);
  if (!target.validity.valid) target.value = target.defaultValue;  // the server refuses it: show the valid one again
});
element.addEventListener('keydown', event => {
  const {action, index, name} = event.target.dataset;
  if (event.key === 'Delete' && action === 'open' && !event.repeat) send({dataset: {action: 'remove', index, name}});
  const close = event.key === 'Escape' && element.querySelector('.details [data-action=open], [aria-expanded=true]');
  if (close) {
    [...document.querySelectorAll('.cards [aria-expanded=true]')].find(one => one.offsetParent)?.focus();
    send(close);
  }
});
// A change replaces the control with the focus, too: the same control gets it again, or the image that moved there; where
// the details are closed, a thumbnail.
// The details of another image come into sight: they may be far below its thumbnail.
let focused = null, shown;
const controls = () => [...element.querySelectorAll('[data-action]:not([tabindex="-1"].remove)')];
element.addEventListener('focusin', ({target}) => { focused = target; });
element.addEventListener('focusout', ({relatedTarget}) => { if (relatedTarget) focused = null; });
new MutationObserver(() => {
  const details = element.querySelector('.details'), now = details?.querySelector('[data-action=open]').dataset.index;
  if (now !== shown) details?.scrollIntoView({block: 'nearest'});
  shown = now;
  if (!focused || focused.isConnected || document.activeElement !== document.body) return;
  const {dataset: {action, index}, value} = focused;
  const same = controls().filter(one => one.dataset.action === action);
  const thumbnails = [...document.querySelectorAll('.cards .open')].filter(one => one.offsetParent);
  (same.find(one => one.dataset.index === index && (one.type === 'number' || one.value === value)) ?? same.at(-1) ??
    thumbnails.find(one => one.dataset.index === index) ?? thumbnails.at(-1))?.focus();
}).observe(element, {childList: true, subtree: true});
