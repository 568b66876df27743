if (['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)) {
  for (const one of element.querySelectorAll('.stays')) {
    one.textContent = 'They never leave this computer. Nothing is trained on them.';
  }
}
