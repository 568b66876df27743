async button => {
  // Copies the address of the page, and says so on the button.
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = 'Copied';
  } catch { button.textContent = 'See the address'; }  // a page over plain HTTP may not copy
  setTimeout(() => { button.textContent = 'Copy link'; }, 1500);
}
