if (sending.here) {
  for (const one of element.querySelectorAll('.stays')) {
    one.textContent = 'Your photos never leave this computer. Nothing is trained on them.';
  }
}
