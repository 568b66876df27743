if (['localhost', '127.0.0.1', '[::1]'].includes(location.hostname)) {
  element.querySelector('.stays').textContent = 'They never leave this computer. Nothing is trained on them.';
}
