// The body of a function of `element`, `props`, `trigger` and `watch`: three sliders with a face at each end. The value is
// a text, such as "0.5,0,-1", and empty while all are in the middle.
const ranges = [...element.querySelectorAll('input')], faces = [...element.querySelectorAll('img')];
const show = () => {
  const at = (props.value || '').split(',');
  ranges.forEach((range, index) => { range.value = at[index] || 0; });
  faces.forEach((face, index) => { face.src = props.faces?.[index] ?? ''; face.hidden = !face.getAttribute('src'); });
};
show();
watch(['value', 'faces'], show);
const take = event => {
  const at = ranges.map(range => range.value).join(',').replace(/(,0)+$/, '');
  props.value = at === '0' ? '' : at;
  trigger(event.type === 'change' ? 'release' : 'input');
};
element.addEventListener('input', take);
element.addEventListener('change', take);
