// On a phone the images unfold below the sets (page.css). A choice there folds them again, and "Add photos" does not
// unfold them.
const handle = element.querySelector('.handle'), drawer = element.closest('#your-images');
const pull = open => {
  drawer.classList.toggle('open', open);
  handle.setAttribute('aria-expanded', String(open));
  if (open) element.scrollIntoView();
};
const shut = () => {
  if (!handle.offsetParent) return;
  pull(false);
  window.scrollTo({top: 0});
};
handle.addEventListener('click', () => pull(!drawer.classList.contains('open')));
element.querySelector('.add').addEventListener('click', () => drawer.querySelector('.takes-files input[type=file]')?.click());
element.querySelector('.to-share').addEventListener('click', () => document.querySelector('#history .share').click());
// A new page would forget one's own photos, and "Undo" brings them back.
element.querySelector('a').addEventListener('click', event => {
  event.preventDefault();
  document.querySelector('#evidence-clear').click();
  shut();
});
drawer.addEventListener('click', event => { if (event.target.closest('[data-example]')) shut(); });
drawer.addEventListener('change', event => { if (event.target.type === 'file') shut(); });
document.addEventListener('pointerdown', event => { if (!drawer.contains(event.target)) pull(false); });
document.addEventListener('keydown', event => { if (event.key === 'Escape') pull(false); });
