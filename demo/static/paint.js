// Paint over a picture: every `.paint` of the page, now and later. A click on one of its buttons triggers the event
// `painted` of the box. Its detail is the mask, "WxH:" and 0 or 1 for each cell, row by row ("" for nothing), and whether
// it is for all pictures. Ours, because Gradio's ImageEditor cannot be a part of a list of images.
{
  const disc = (canvas, x, y) => {
    const brush = canvas.getContext('2d');
    brush.fillStyle = '#e11d48';
    brush.beginPath();
    brush.arc(x, y, Math.max(canvas.width, canvas.height) / 18, 0, 2 * Math.PI);
    brush.fill();
  };
  const position = (canvas, {clientX, clientY}) => {
    const {left, top, width, height} = canvas.getBoundingClientRect();
    return [(clientX - left) / width * canvas.width, (clientY - top) / height * canvas.height];
  };
  const line = (canvas, from, to) => {
    const steps = Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])) || 1;
    for (let i = 1; i <= steps; i++) disc(canvas, ...from.map((at, axis) => at + i / steps * (to[axis] - at)));
  };
  const maskOf = canvas => {
    const {width, height} = canvas, {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    const cells = Array.from({length: width * height}, (_, cell) => Number(data[4 * cell + 3] > 127)).join('');
    return cells.includes('1') ? `${width}x${height}:${cells}` : '';
  };
  const show = canvas => {
    const [size, cells] = (canvas.dataset.mask ?? '').split(':'), brush = canvas.getContext('2d');
    brush.clearRect(0, 0, canvas.width, canvas.height);
    canvas.dataset.shown = 'yes';
    if (size !== `${canvas.width}x${canvas.height}`) return;
    const picture = brush.createImageData(canvas.width, canvas.height);
    [...cells].forEach((one, cell) => { if (one === '1') picture.data.set([225, 29, 72, 255], 4 * cell); });
    brush.putImageData(picture, 0, 0);
  };
  let last = null, at = null;  // of the pointer while it is down; of the keyboard
  document.addEventListener('pointerdown', event => {
    const canvas = event.target.closest?.('.paint canvas');
    if (!canvas || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    last = position(canvas, event);
    disc(canvas, ...last);
  });
  document.addEventListener('pointermove', event => {
    if (!last || !event.target.matches?.('.paint canvas')) return;
    const to = position(event.target, event);
    line(event.target, last, to);
    last = to;
  });
  for (const end of ['pointerup', 'pointercancel']) document.addEventListener(end, () => { last = null; });
  document.addEventListener('keydown', event => {
    const canvas = event.target;
    if (!canvas.matches?.('.paint canvas')) return;
    const step = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], ' ': [0, 0]}[event.key];
    if (!step) return;
    event.preventDefault();
    at = (at ?? [canvas.width / 2, canvas.height / 2]).map((one, axis) =>
      Math.min(Math.max(one + step[axis] * canvas.width / 16, 0), axis ? canvas.height : canvas.width));
    if (event.key === ' ' || event.shiftKey) disc(canvas, ...at);
  });
  document.addEventListener('click', event => {
    const box = event.target.closest?.('[data-paint]')?.closest('.paint');
    if (!box) return;
    const canvas = box.querySelector('canvas'), {paint: kind} = event.target.closest('[data-paint]').dataset;
    if (kind === 'clear') canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    box.dispatchEvent(new CustomEvent('painted', {bubbles: true, detail: {mask: maskOf(canvas), all: kind === 'all'}}));
  });
  // Gradio keeps the canvas where another picture comes: what was painted on the one before goes.
  const fresh = () => document.querySelectorAll('.paint canvas').forEach(canvas => {
    const of = canvas.previousElementSibling.src + (canvas.dataset.mask ?? '');
    if (canvas.of !== of) show(canvas);
    canvas.of = of;
  });
  new MutationObserver(fresh).observe(document.body,
    {childList: true, subtree: true, attributes: true, attributeFilter: ['src', 'data-mask']});
}
