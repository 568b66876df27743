const range = element.querySelector('input'), slider = element.firstElementChild;
// λ/m has a scale in log10, and three digits; any other number has a unit.
const {unit, sign, texts} = range.dataset, log = unit === undefined, named = texts?.split(' ');
const text = v => {
  if (named) return props.text ?? (other ? '…' : named[Math.round((named.length - 1) * v)]);
  if (!log) return unit === '%' ? Math.round(100 * v) + ' %' : +v.toFixed(2) + unit;
  return v < 0.1 ? v.toFixed(3) : v < 1 ? v.toFixed(2) : v.toFixed(1);
};
let rest = 0, pressed = false, other = false;
const show = () => {
  if (named && props.text !== undefined) other = !named.includes(props.text);  // the script does not know this curve
  if (props.name !== undefined) element.querySelector('label').textContent = props.name;
  if (props.advised !== undefined) slider.classList.toggle('advised', props.advised);
  if (props.most !== undefined) range.max = props.most;
  const at = log ? Math.log10(props.value) : props.value;
  if (!pressed && Math.abs(parseFloat(range.value) - at) > 0.6 * range.step) range.value = at;
  const advised = slider.classList.contains('advised') && props.value >= 0.295 && props.value <= 0.705;
  const shown = text(props.value) + (advised ? ' (recommended)' : '');
  element.querySelector('output').textContent = (sign || '') + shown;
  range.setAttribute('aria-valuetext', shown);
};
show();
watch(['value', 'name', 'advised', 'most', 'text'], show);
const take = event => {
  if (event.target !== range) return;
  const at = parseFloat(range.value);
  props.text = undefined;
  props.value = log ? Number(Math.pow(10, at).toPrecision(3)) : at;
  show();
  clearTimeout(rest);
  if (event.type === 'change') { trigger('release'); return; }
  // A sprite in the page may have these samples: then the server gets no request until the slider rests or is released.
  const detail = {slider: range.id, at};
  const unserved = element.dispatchEvent(new CustomEvent('scrub', {bubbles: true, cancelable: true, detail}));
  if (unserved) trigger('input'); else rest = setTimeout(() => trigger('input'), 150);
};
range.addEventListener('pointerdown', () => { pressed = true; });
for (const end of ['pointerup', 'pointercancel', 'change']) range.addEventListener(end, () => { pressed = false; });
// Forty keys take a slider of λ/m, or the one before the samples, from end to end.
range.addEventListener('keydown', event => {
  const way = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
  if (!way || !(log || named) || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  range.value = parseFloat(range.value) + way * (range.max - range.min) / 40;
  for (const type of ['input', 'change']) range.dispatchEvent(new Event(type, {bubbles: true}));
});
element.addEventListener('input', take);
element.addEventListener('change', take);
