// A value of the server, as an event of the document for a script of the page.
watch('value', () => document.dispatchEvent(new CustomEvent('$EVENT', {detail: props.value})));
