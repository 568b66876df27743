// After examples.js: the chip of the visitor's own photos, with the first of them as the value; there while an example is.
const mine = element.querySelector('[data-example=mine]');
const showMine = () => { mine.hidden = !props.value; mine.firstChild.src = props.value || ''; };
showMine();
watch('value', showMine);
