// After examples.js and photos.js, as `withPhotos`: the chip of the visitor's own photos, with the first of them as the
// value; there while an example is. After a reload the browser alone has them (keep.js): a click sends them.
const mine = element.querySelector('[data-example=mine]');
let kept = '';
const showMine = () => {
  const first = props.value || kept;
  mine.hidden = !first;
  mine.firstChild.src = first || '';
  if (props.value || !kept) delete mine.dataset.query; else mine.dataset.query = withPhotos('example=own');
};
showMine();
watch('value', showMine);
if (element.closest('.keeps')) document.addEventListener('kept', ({detail}) => { kept = detail; showMine(); });
