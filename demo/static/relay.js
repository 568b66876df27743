// What the server says to a script of the page, as an event of the document.
watch('value', () => document.dispatchEvent(new CustomEvent('$EVENT', {detail: props.value})));
