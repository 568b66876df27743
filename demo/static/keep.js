// After cards.js: a reload keeps one's own photos, in the storage of this tab of the browser. It ends with the tab. While
// an example set is in their place, "kept" tells mine.js of them.
const stored = work => { try { return work(sessionStorage) ?? true; } catch { return false; } };  // it may be blocked
let seen = false;
const keep = () => {
  const mark = element.querySelector('[data-keep]'), box = mark?.querySelector('input');
  if (!mark) return;  // they are still being read
  if (box) box.checked = !stored(store => store.getItem('forget') === 'yes');
  seen ||= mark.dataset.keep !== 'no';  // else the page opened without images
  if (box ? !box.checked : seen && mark.dataset.keep === 'no') stored(store => store.removeItem('photos'));
  const first = box ? null : stored(store => JSON.parse(store.getItem('photos') ?? '[[]]')[0]);
  document.dispatchEvent(new CustomEvent('kept', {detail: first?.[2]}));
  if (!box) return;
  const photos = [...element.querySelectorAll('.open:has(img)')].map(one =>
    [one.dataset.name, Number(one.dataset.weight), one.querySelector('img').src]);
  const all = photos.length;
  while (box.checked && photos.length && !stored(store => store.setItem('photos', JSON.stringify(photos)))) photos.pop();
  mark.lastChild.textContent = !box.checked ? 'A reload forgets these photos.'
    : photos.length === all ? 'A reload keeps the pictures shown here, in this tab of your browser, and draws new faces.'
    : photos.length ? `A reload keeps the first ${photos.length} pictures shown here, and draws new faces.`
    : 'This browser keeps no photos: a reload forgets them.';
};
watch('value', keep);
element.addEventListener('change', ({target}) => {
  if (!target.matches('.keep input')) return;
  stored(store => store.setItem('forget', target.checked ? 'no' : 'yes'));
  keep();
});
