element.addEventListener('click', event => {
  const button = event.target.closest('button[data-split]');
  if (button) trigger('select', {split: Number(button.dataset.split)});
});
