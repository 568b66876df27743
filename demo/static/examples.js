element.addEventListener('click', event => {
  const button = event.target.closest('button[data-example], button[data-split]');
  if (button) trigger('select', {...button.dataset});
});
