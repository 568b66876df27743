// The body of a function of `element`, `props`, `trigger` and `watch`: which sample the samples lie around, as a text such
// as "4,2", for sample 3 of those around sample 5. A click lets go of it.
const chip = element.querySelector('button');
const show = () => {
  chip.hidden = !props.value;
  const [first, ...more] = String(props.value || 0).split(',').map(index => Number(index) + 1);
  chip.firstChild.textContent = 'More like face ' + [first, ...more].join(', then ');
};
show();
watch('value', show);
const set = value => { props.value = value; show(); trigger('release'); };
chip.addEventListener('click', () => set(''));
document.addEventListener('more-like-this', event => {
  set([...String(props.value || '').split(',').filter(Boolean), event.detail].slice(-8).join(','));
});
