() => {
  // Files that are dropped or pasted anywhere go to the drop zone that is nearest to the pointer.
  let at = {clientX: 0, clientY: 0};
  const dropZones = () => [...document.querySelectorAll('.takes-files')].filter(zone => zone.offsetParent);
  const distance = ({clientX: x, clientY: y}, zone) => {
    const {left, right, top, bottom} = (zone.closest('.takes-around') ?? zone).getBoundingClientRect();
    return Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
  };
  const nearest = event => dropZones().sort((one, other) => distance(event, one) - distance(event, other))[0];
  const inputOf = zone => zone?.querySelector('input[type=file]');
  const add = (input, files) => {
    if (!input) return;
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));
  };
  // What is no picture is named in words, where Gradio would list twenty endings; so is what is too large, for which it
  // sends nothing. The others are sent, lighter where they may be (sending.js).
  const most = window.gradio_config?.max_file_size ?? Infinity, ready = new WeakSet();
  addEventListener('change', async event => {
    const input = event.target, zone = input.closest?.('.takes-files'), said = zone?.querySelector('.said');
    if (!said || input.type !== 'file' || ready.delete(input)) return;
    const ends = input.accept.split(',').map(one => one.trim()), files = [...input.files];
    const isPicture = ({name}) => ends.some(end => name.toLowerCase().endsWith(end));
    const fine = files.filter(file => isPicture(file) && file.size <= most);
    said.textContent = files.filter(file => !fine.includes(file)).map(file =>
      isPicture(file) ? `${file.name} is larger than ${most / 2 ** 20} MB.` : `${file.name} is no picture.`).join(' ');
    // On a low window what becomes of them is further down.
    const next = fine.length ? document.getElementById(zone.id.replace(/files$/, 'status')) : said;
    next?.scrollIntoView({block: 'nearest'});
    const lighten = zone.matches('.takes-faces') && sending.areHeavy(fine);
    if (lighten || fine.length < files.length) {
      event.stopImmediatePropagation();
      const sent = lighten ? await sending.lighter(fine) : fine;
      if (sent.length) {
        ready.add(input);
        add(input, sent);
      }
    }
    setTimeout(() => { input.value = ''; });  // else the same files, chosen again, would be no change
  }, true);
  const mark = zone => {
    document.querySelectorAll('.dropping').forEach(one => one.classList.remove('dropping'));
    zone?.classList.add('dropping');
    document.body.classList.toggle('drags', Boolean(zone));
  };
  addEventListener('pointermove', event => { at = event; }, {passive: true});
  const hasFiles = event => [...event.dataTransfer?.types ?? []].includes('Files');
  const typed = event => !hasFiles(event) && event.target.closest?.('input, textarea, [contenteditable=true]');
  addEventListener('dragover', event => {
    if (typed(event)) return;
    event.preventDefault();  // else the browser would leave the page and show a file that was dropped beside a drop zone
    at = event;
    mark(hasFiles(event) ? nearest(event) : null);
  });
  addEventListener('dragleave', event => { if (!event.relatedTarget) mark(null); });
  // The files of a folder and its folders, by name; without those that are hidden.
  const filesIn = async entry => {
    if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
    const reader = entry.createReader(), found = [];
    for (let some = [0]; some.length;) {  // a hundred at a time
      some = await new Promise((done, fail) => reader.readEntries(done, fail));
      found.push(...some);
    }
    const shown = found.filter(({name}) => !name.startsWith('.')).sort((a, b) => a.name.localeCompare(b.name));
    return (await Promise.all(shown.map(filesIn))).flat();
  };
  addEventListener('drop', async event => {
    mark(null);
    if (typed(event)) return;
    event.preventDefault();
    const zone = nearest(event), said = zone?.querySelector('.said');
    const dropped = [...event.dataTransfer?.items ?? []].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
    if (dropped.some(one => one.isDirectory)) add(inputOf(zone), (await Promise.all(dropped.map(filesIn))).flat());
    else if (hasFiles(event)) add(inputOf(zone), event.dataTransfer.files);
    else if (said) said.textContent = 'This is no file. Save the picture, and drop its file here.';
  }, true);
  addEventListener('paste', event => {
    const files = [...event.clipboardData?.files ?? []];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    add(inputOf(nearest(at)), files);
  }, true);
  // Files that one tab adds to a drop zone of another, which is made when its tab is opened.
  document.addEventListener('add-files', ({detail: {tab, zone, files}}) => {
    [...document.querySelectorAll('[role=tab]')].find(one => one.textContent.trim() === tab).click();
    window.scrollTo({top: 0});
    const there = () => {
      const input = inputOf(document.querySelector(zone));
      if (input) add(input, files); else requestAnimationFrame(there);
    };
    there();
  });
  // The side panel has the controls of the open tab.
  document.addEventListener('tab-opened', event => { document.body.dataset.tab = event.detail; });
  // A number outside its range becomes the nearest limit, and the browser shows the range. While somebody types, a number
  // may still be too small.
  const clamp = ({target: field, type}) => {
    if (field.type !== 'number' || field.value === '' || field.max === '') return;
    const least = type === 'change' ? Number(field.min) : Math.min(1, field.min);
    const within = Math.min(field.max, Math.max(least, field.value));
    field.setCustomValidity('');
    if (within === Number(field.value)) return;
    field.value = within;
    if (type === 'change') field.dispatchEvent(new Event('input', {bubbles: true}));
    field.setCustomValidity(`From ${field.min} to ${field.max}.`);
    field.reportValidity();
  };
  addEventListener('input', clamp, true);
  addEventListener('change', clamp, true);
  // Tab reaches code that scrolls, too: CodeMirror would skip it.
  new MutationObserver(() => {
    for (const one of document.querySelectorAll('.cm-scroller[tabindex="-1"]')) one.tabIndex = 0;
  }).observe(document.body, {childList: true, subtree: true});
  // Tab reaches one element of a group, and of a row of tabs; arrow keys reach the others.
  const stops = target => [...target.closest('[data-roving], [role=tablist]')?.querySelectorAll(
    '[data-stop]:not([hidden]), [role=tab]') ?? []];
  addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    if (!event.target.matches?.('[data-stop], [role=tab]')) return;
    event.preventDefault();
    const all = stops(event.target), next = all[(all.indexOf(event.target) + step + all.length) % all.length];
    next?.focus();
    if (next?.role === 'tab') next.click();
  });
  addEventListener('focusin', ({target, relatedTarget}) => {
    if (!target.matches('[data-stop], [role=tab]')) return;
    const all = stops(target), chosen = all.find(one => one.ariaSelected === 'true');
    if (chosen && chosen !== target && !all.includes(relatedTarget) && target.matches(':focus-visible')) chosen.focus();
    else all.forEach(one => { one.tabIndex = one === target ? 0 : -1; });
  });
}
