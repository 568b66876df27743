() => {
  // Files that are dropped or pasted anywhere go to the zone that takes files and is nearest to the pointer.
  let at = {clientX: 0, clientY: 0};
  const zones = () => [...document.querySelectorAll('.takes-files')].filter(zone => zone.offsetParent);
  const away = ({clientX: x, clientY: y}, zone) => {
    const {left, right, top, bottom} = (zone.closest('.takes-around') ?? zone).getBoundingClientRect();
    return Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
  };
  const nearest = event => zones().sort((one, other) => away(event, one) - away(event, other))[0];
  const give = (zone, files) => {
    const input = zone?.querySelector('input[type=file]');
    if (!input) return;
    const given = new DataTransfer();
    for (const file of files) given.items.add(file);
    input.files = given.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));
  };
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
    event.preventDefault();  // else a drop beside a zone leaves the page for the file
    at = event;
    mark(hasFiles(event) && nearest(event));
  });
  addEventListener('dragleave', event => { if (!event.relatedTarget) mark(null); });
  addEventListener('drop', event => {
    mark(null);
    if (typed(event) || event.target.closest?.('.takes-files')) return;  // Gradio takes these
    event.preventDefault();
    if (hasFiles(event)) give(nearest(event), event.dataTransfer.files);
  }, true);
  addEventListener('paste', event => {
    const files = [...event.clipboardData?.files ?? []];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    give(nearest(at), files);
  }, true);
  // Files that one tab gives to a zone of another, which has none until it was seen.
  document.addEventListener('give', ({detail: {tab, zone, files}}) => {
    [...document.querySelectorAll('[role=tab]')].find(one => one.textContent.trim() === tab).click();
    window.scrollTo({top: 0});
    const there = () => {
      const at = document.querySelector(zone);
      if (at?.querySelector('input[type=file]')) give(at, files); else requestAnimationFrame(there);
    };
    there();
  });
  // Code that scrolls is reached by Tab, too: CodeMirror takes it out.
  new MutationObserver(() => {
    for (const one of document.querySelectorAll('.cm-scroller[tabindex="-1"]')) one.tabIndex = 0;
  }).observe(document.body, {childList: true, subtree: true});
  // Of a group, and of a row of tabs, one is reached by Tab and the others from it by arrow keys.
  const stops = target => [...target.closest('[data-roving], [role=tablist]')?.querySelectorAll('[data-stop], [role=tab]') ?? []];
  addEventListener('keydown', event => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (!step || !event.target.matches?.('[data-stop], [role=tab]')) return;
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
