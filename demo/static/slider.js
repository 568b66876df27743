const range = element.querySelector('input'), slider = element.firstElementChild;
// λ/m has a scale in log10, and three digits; any other number has a unit.
const {unit, sign} = range.dataset, log = unit === undefined;
const text = v => {
  if (!log) return unit === '%' ? Math.round(100 * v) + ' %' : +v.toFixed(2) + unit;
  return v < 0.1 ? v.toFixed(3) : v < 1 ? v.toFixed(2) : v.toFixed(1);
};
let rest = 0;
const show = () => {
  if (props.name !== undefined) element.querySelector('label').textContent = props.name;
  if (props.advised !== undefined) slider.classList.toggle('advised', props.advised);
  if (props.most !== undefined) range.max = props.most;
  const at = log ? Math.log10(props.value) : props.value;
  if (Math.abs(parseFloat(range.value) - at) > 0.006) range.value = at;
  const advised = slider.classList.contains('advised') && props.value >= 0.295 && props.value <= 0.705;
  const shown = text(props.value) + (advised ? ' (recommended)' : '');
  element.querySelector('output').textContent = (sign || '') + shown;
  range.setAttribute('aria-valuetext', shown);
};
show();
watch(['value', 'name', 'advised', 'most'], show);
const take = event => {
  if (event.target !== range) return;
  const at = parseFloat(range.value);
  props.value = log ? Number(Math.pow(10, at).toPrecision(3)) : at;
  show();
  clearTimeout(rest);
  if (event.type === 'change') { trigger('release'); return; }
  // A sprite in the page may have these samples: then the server gets no request until the slider rests or is released.
  const detail = {slider: range.id, at};
  const unserved = element.dispatchEvent(new CustomEvent('scrub', {bubbles: true, cancelable: true, detail}));
  if (unserved) trigger('input'); else rest = setTimeout(() => trigger('input'), 150);
};
element.addEventListener('input', take);
element.addEventListener('change', take);
