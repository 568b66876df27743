// After cards.js: a reload keeps one's own photos, in the storage of this tab of the browser. It ends with the tab.
const stored = work => { try { return work(sessionStorage) ?? true; } catch { return false; } };  // it may be blocked
const keep = () => {
  const mark = element.querySelector('[data-keep]'), box = mark?.querySelector('input');
  if (!mark) return;  // they are still being read
  if (box) box.checked = !stored(store => store.getItem('forget') === 'yes');
  if (!box?.checked) stored(store => store.removeItem('photos'));
  if (!box) return;
  const photos = [...element.querySelectorAll('.open:has(img)')].map(one =>
    [one.dataset.name, Number(one.dataset.weight), one.querySelector('img').src]);
  const all = photos.length;
  while (box.checked && photos.length && !stored(store => store.setItem('photos', JSON.stringify(photos)))) photos.pop();
  mark.lastChild.textContent = !box.checked ? 'A reload forgets these photos.'
    : photos.length === all ? 'A reload keeps these photos, in this tab of your browser.'
    : photos.length ? `A reload keeps the first ${photos.length} photos.`
    : 'This browser keeps no photos: a reload forgets them.';
};
watch('value', keep);
element.addEventListener('change', ({target}) => {
  if (!target.matches('.keep input')) return;
  stored(store => store.setItem('forget', target.checked ? 'no' : 'yes'));
  keep();
});
