if (sending.here) {
  for (const one of element.querySelectorAll('.stays')) {
    one.textContent = 'They never leave this computer. Nothing is trained on them.';
  }
}
