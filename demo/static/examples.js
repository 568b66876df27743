element.addEventListener('click', event => {
  const button = event.target.closest('button[data-example]');
  if (button) trigger('select', {example: button.dataset.example});
});
