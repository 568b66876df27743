// Delegated listeners: the cards are drawn anew at each change, the element that holds them stays.
const tell = target => {
  const {action, index} = target.dataset;
  trigger('edit', {action, index: Number(index), value: target.value ?? ''});
};
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-action]');
  // The second click of a double click would meet the card that came into the place of the first.
  if (button && event.detail < 2) tell(button);
});
element.addEventListener('change', event => { if (event.target.dataset.action) tell(event.target); });
