const range = element.querySelector('input'), slider = element.firstElementChild;
// λ/m works in log10, and is a number of three digits; what is no λ/m has a unit.
const {unit, sign} = range.dataset, log = unit === undefined;
const text = v => !log ? +v.toFixed(2) + unit : v < 0.1 ? v.toFixed(3) : v < 1 ? v.toFixed(2) : v.toFixed(1);
let rest = 0;
const show = () => {
  if (props.name !== undefined) element.querySelector('label').textContent = props.name;
  if (props.advised !== undefined) slider.classList.toggle('advised', props.advised);
  if (props.most !== undefined) range.max = props.most;
  const at = log ? Math.log10(props.value) : props.value;
  if (Math.abs(parseFloat(range.value) - at) > 0.006) range.value = at;
  const advised = slider.classList.contains('advised') && props.value >= 0.295 && props.value <= 0.705;
  const words = text(props.value) + (advised ? ' (recommended)' : '');
  element.querySelector('output').textContent = (sign || '') + words;
  range.setAttribute('aria-valuetext', words);
};
show();
watch(['value', 'name', 'advised', 'most'], show);
const take = event => {
  if (event.target !== range) return;
  const place = parseFloat(range.value);
  props.value = log ? Number(Math.pow(10, place).toPrecision(3)) : place;
  show();
  clearTimeout(rest);
  if (event.type === 'change') { trigger('release'); return; }
  // A sprite in the page may have what is asked for: then nobody else is asked, until the slider rests or is let go.
  const detail = {slider: range.id, place};
  const asks = element.dispatchEvent(new CustomEvent('scrub', {bubbles: true, cancelable: true, detail}));
  if (asks) trigger('input'); else rest = setTimeout(() => trigger('pause'), 150);
};
element.addEventListener('input', take);
element.addEventListener('change', take);
