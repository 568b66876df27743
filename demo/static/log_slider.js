const text = v => v < 0.1 ? v.toFixed(3) : v < 1 ? v.toFixed(2) : v.toFixed(1);
const show = () => {
  const input = element.querySelector('input'), at = Math.log10(props.value);
  if (Math.abs(parseFloat(input.value) - at) > 0.006) input.value = at;
  const recommended = props.advice === 'advised' && props.value >= 0.295 && props.value <= 0.705 ? ' (recommended)' : '';
  element.querySelector('output').textContent = text(props.value) + recommended;
  input.setAttribute('aria-valuetext', text(props.value) + recommended);
};
show();
watch('value', show);
watch('advice', () => requestAnimationFrame(show));
const take = event => {
  if (!event.target.matches('input[type=range]')) return;
  props.value = Number(Math.pow(10, parseFloat(event.target.value)).toPrecision(3));
  show();
  trigger(event.type === 'input' ? 'input' : 'release');
};
element.addEventListener('input', take);
element.addEventListener('change', take);
