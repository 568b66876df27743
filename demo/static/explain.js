// Figure 2 of the paper, live in two dimensions: draws the plane, and fills in every number of the page's formulas.
// Runs as the body of a function of `element`, which holds explain.html, and of `props`, whose value
// are the prior's numbers. Nothing here needs the server.

const PLANE = {left: -3.5, right: 5.5, bottom: -3.3, top: 4.2};
const START = [[1.6, 2.3], [3.1, 1.1], [2.4, 2.9]];
const MOST = 6;
const DRAWS = 90;
const SLIDER = {low: -2, high: 1}; // log10 of λ/m
const find = selector => element.querySelector(selector);
const findAll = selector => [...element.querySelectorAll(selector)];

// ---- mathematics: transflow_core.posterior in two dimensions -------------------------------------------------------

// Eq. 7-8 from r = λ/m, so that both ends are exact: r = 0 is the evidence's mean, r = ∞ the prior.
const share = r => r === Infinity ? 0 : 1 / (1 + r);
const spread = r => r === Infinity ? 1 : r / (1 + r);
const condition = (points, ratio) => {
  const centre = [0, 1].map(i => points.reduce((sum, point) => sum + point[i], 0) / points.length);
  return {centre, mean: centre.map(c => c * share(ratio)), variance: spread(ratio)};
};

// Uniform numbers of draw i, the same at every λ and with every method.
const uniforms = (seed, i) => {
  let state = Math.imul(seed, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca6b);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
};
const normal = uniform => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
// They stay while λ and the evidence move.
const standardNormal = (seed, count) => {
  const uniform = uniforms(seed, -1);
  return Array.from({length: count}, () => [normal(uniform), normal(uniform)]);
};
// Marsaglia and Tsang 2000; below 1, the log of a boosted draw, since x itself would be 0.
const logGamma = (shape, uniform) => {
  if (shape < 1) return logGamma(shape + 1, uniform) + Math.log(uniform()) / shape;
  const d = shape - 1 / 3, c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(uniform), v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(uniform()) < x * x / 2 + d - d * v + d * Math.log(v)) return Math.log(d * v);
  }
};
// Dirichlet weights of m images, of which k effectively make a draw: k = (mα + 1)/(α + 1).
const weights = (m, k, uniform) => {
  if (k >= m) return Array(m).fill(1 / m);
  const alpha = (k - 1) / (m - k);
  if (!alpha) {
    const chosen = Math.floor(uniform() * m);
    return Array.from({length: m}, (_, i) => Number(i === chosen));
  }
  const logs = Array.from({length: m}, () => logGamma(alpha, uniform)), most = Math.max(...logs);
  const parts = logs.map(value => Math.exp(value - most)), sum = parts.reduce((a, b) => a + b);
  return parts.map(part => part / sum);
};

// What each method adds to a draw of the posterior, and the scale of the noise: see Posterior.draw.
const deviations = (points, centre, ratio, method) => {
  const m = points.length, d = points.map(point => [point[0] - centre[0], point[1] - centre[1]]);
  if (method.kind === 'local') {  // each dimension has weights of its own over the draw's donors
    const donors = 1 + 8 * (1 - method.likeness), drawnIn = 0.97 - 0.15 * Math.min(1, 2 * (1 - method.likeness));
    return {noise: 0.6, draw: uniform => {
      const rows = d.map((_, i) => [uniform(), i]).sort(([a], [b]) => a - b).slice(0, Math.ceil(donors));
      return [0, 1].map(axis => {
        const parts = rows.map((_, i) => Math.exp(4 * normal(uniform)) * Math.min(1, donors - i));
        const all = parts.reduce((a, b) => a + b);
        return drawnIn * share(ratio) * rows.reduce((sum, [, row], i) => sum + parts[i] / all * d[row][axis], 0);
      });
    }};
  }
  if (method.kind === 'bootstrap' && method.images < m) {
    return {noise: 1, draw: uniform => {
      const c = weights(m, method.images, uniform);
      return [0, 1].map(axis => share(ratio) * c.reduce((sum, weight, i) => sum + weight * d[i][axis], 0));
    }};
  }
  return {noise: 1, draw: () => [0, 0]};
};

// ---- what is on the screen -----------------------------------------------------------------------------------------

let state, noise;
const begin = () => {
  state = {points: START, ratio: 0.5, seed: 1, method: {kind: 'posterior', likeness: 0.5, images: 2}};
  noise = standardNormal(state.seed, DRAWS);
};
begin();

const number = (value, digits = 3) => {
  if (value === Infinity) return '∞';
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? (0).toFixed(digits) : text).replace('-', '−');
};
const short = value => value === Infinity ? '∞' : value >= 100 ? number(value, 0) : String(Number(value.toPrecision(3)));
const write = (name, text) => findAll(`[data-out="${name}"]`).forEach(node => {
  if (node.textContent !== text) node.textContent = text;
});
const set = (node, attributes) => Object.entries(attributes).forEach(([name, value]) =>
  node.setAttribute(name, value));
const svg = name => document.createElementNS('http://www.w3.org/2000/svg', name);

const plane = find('.plane'), marks = find('.evidence-marks');
const dots = noise.map(() => find('.samples').appendChild(svg('circle')));

// Two gradients over three standard deviations that fall like the density.
findAll('radialGradient').forEach(fill => {
  for (let i = 0; i <= 8; i++) {
    const stop = fill.appendChild(svg('stop'));
    set(stop, {offset: i / 8, 'stop-opacity': 0.42 * Math.exp(-0.5 * (3 * i / 8) ** 2)});
  }
});
const tick = (d, x, y, side, value) => {
  const line = find('.axes').appendChild(svg('path')), text = find('.axes').appendChild(svg('text'));
  set(line, {d});
  set(text, {x, y, class: side});
  text.textContent = number(value, 0);
};
for (const x of [-3, -2, -1, 1, 2, 3, 4, 5]) tick(`M${x} -.06V.06`, x, 0.36, 'middle', x);
for (const y of [-2, -1, 1, 2, 3]) tick(`M-.06 ${-y}H.06`, -0.14, 0.09 - y, 'end', y);

// A cross for each image of the evidence. It stays while its point moves, so that a drag and the focus are not lost.
const makeMark = () => {
  const mark = find('#how-mark').cloneNode(true);
  mark.removeAttribute('id');
  set(mark, {class: 'mark', tabindex: 0, role: 'slider', 'aria-roledescription': 'movable point',
    'aria-valuemin': PLANE.left, 'aria-valuemax': PLANE.right});
  return mark;
};
const drawEvidence = () => {
  while (marks.children.length > state.points.length) marks.lastChild.remove();
  while (marks.children.length < state.points.length) marks.append(makeMark());
  state.points.forEach(([x, y], i) => {
    const mark = marks.children[i];
    set(mark, {transform: `translate(${x} ${-y})`, 'data-index': i, 'aria-valuenow': x,
      'aria-label': `Evidence ${i + 1} of ${state.points.length}. Arrow keys move it, Delete removes it`,
      'aria-valuetext': `z₁ ${number(x, 2)}, z₂ ${number(y, 2)}`});
    mark.querySelector('text').textContent = state.points.length > 1 ? String(i + 1) : '';
  });
};

const drawPosterior = ({centre, mean, variance}) => {
  const more = deviations(state.points, centre, state.ratio, state.method);
  const std = more.noise * Math.sqrt(variance), added = noise.map((_, i) => more.draw(uniforms(state.seed, i)));
  const moment = (i, j) => added.reduce((sum, x) => sum + x[i] * x[j], 0) / DRAWS;
  const [a, b, c] = [std ** 2 + moment(0, 0), moment(0, 1), std ** 2 + moment(1, 1)];
  // Axes of the ellipse of [[a, b], [b, c]]; without b they are the plane's, in their order.
  const half = Math.hypot((a - c) / 2, b), axes = b ? [(a + c) / 2 + half, (a + c) / 2 - half] : [a, c];
  const turned = b ? -90 / Math.PI * Math.atan2(2 * b, a - c) : 0;
  findAll('.posterior ellipse').forEach(ellipse => {
    const sigmas = Number(ellipse.dataset.sigmas), [rx, ry] = axes.map(v => sigmas * Math.sqrt(Math.max(v, 0)));
    set(ellipse, {cx: mean[0], cy: -mean[1], rx, ry, transform: `rotate(${turned} ${mean[0]} ${-mean[1]})`});
  });
  noise.forEach((e, i) => {
    const [x, y] = added[i];
    set(dots[i], {cx: mean[0] + std * e[0] + x, cy: -(mean[1] + std * e[1] + y), r: 0.05});
  });
  set(find('.mean'), {cx: mean[0], cy: -mean[1], 'data-z1': mean[0], 'data-z2': mean[1]});
  set(find('.centre'), {transform: `translate(${centre[0]} ${-centre[1]})`});
  set(find('.shift'), {x2: centre[0], y2: -centre[1]});
  // The name is on the side away from the evidence's mean, where there is space.
  set(find('.mean-name'), {x: mean[0] - 0.14, y: -mean[1] + 0.42});
};

const writeNumbers = ({centre, mean, variance}) => {
  const m = state.points.length;
  write('m', String(m));
  write('ratio', short(state.ratio));
  write('lam', short(state.ratio * m));
  write('variance', number(variance));
  ['1', '2'].forEach((name, i) => {
    write(`centre${name}`, number(centre[i]));
    write(`mean${name}`, number(mean[i]));
    write(`half${name}`, number(centre[i] / 2));
  });
};

// Distances from the origin in the flow's D dimensions. D and the length of a measured photograph are the chosen
// prior's. Unrelated images point in unrelated directions, so that the mean of m of them is shorter by √m.
const writeShell = () => {
  const {dim, photograph, measured} = props.value;
  write('dim', dim.toLocaleString('en'));
  write('measured', measured ? ' (median, measured)' : '');
  const m = Number(find('#how-many').value), evidence = photograph / Math.sqrt(m), mean = evidence * share(state.ratio);
  const sample = Math.sqrt(mean ** 2 + dim * spread(state.ratio));
  const lengths = {prior: Math.sqrt(dim), photograph, evidence, mean, sample};
  for (const [name, length] of Object.entries(lengths)) {
    write(`length-${name}`, number(length, 1));
    find(`.length[data-length="${name}"]`).style.width = `${100 * length / lengths.prior}%`;
  }
  write('many', String(m));
  const near = lengths.sample / photograph, alike = dim * spread(state.ratio) < (mean / 2) ** 2;
  find('.generic').textContent = near < 0.75
    ? 'Nearer to the origin than any photo: every sample is close to the average face, so they look alike. '
      + 'A larger λ moves them outwards again.'
    : alike ? 'About as far out as photos, but all samples are close to one point, your image: they look alike.'
    : near < 0.9 ? 'A little nearer to the origin than photos: samples are softer and less varied.'
    : near <= 1.1 ? 'About as far out as photos: samples can be as varied and as sharp as those of the model.'
      : 'Farther out than photos, like samples of the model alone: your images have little effect.';
};

const drawMethod = () => {
  const {kind, likeness, images} = state.method, m = state.points.length;
  findAll('[data-method]').forEach(node => { node.hidden = node.dataset.method !== kind; });
  find(`input[name=how-method][value=${kind}]`).checked = true;
  find('#how-likeness').value = 100 * likeness;
  set(find('#how-images'), {max: Math.max(m, 2)});
  find('#how-images').value = images;
  write('cloud', kind === 'posterior' ? 'posterior' : 'spread of the samples');
  write('likeness', number(100 * likeness, 0));
  write('images', short(Math.min(images, m)));
};

const drawSliders = () => {
  const {ratio} = state, input = find('#how-lam'), papers = state.method.kind === 'posterior';
  const at = Math.min(Math.max(Math.log10(ratio), SLIDER.low), SLIDER.high);
  if (Math.abs(parseFloat(input.value) - at) > 0.006) input.value = at;
  const text = short(ratio) + (papers && ratio >= 0.295 && ratio <= 0.705 ? ' (recommended)' : '');
  input.closest('.own-slider').classList.toggle('advised', papers);
  input.setAttribute('aria-valuetext', text);
  find('output[for=how-lam]').textContent = text;
  find('[data-do=add]').disabled = state.points.length >= MOST;
  find('[data-do=remove]').disabled = state.points.length <= 1;
};

let timer = 0;
const draw = () => {
  const posterior = condition(state.points, state.ratio);
  drawEvidence();
  drawPosterior(posterior);
  writeNumbers(posterior);
  writeShell();
  drawSliders();
  drawMethod();
  // Only at rest: a screen reader would read each step of a drag.
  clearTimeout(timer);
  timer = setTimeout(() => {
    const [x, y, variance] = [...posterior.mean, posterior.variance].map(value => number(value, 2));
    const m = state.points.length, images = m > 1 ? `${m} images` : '1 image';
    find('.live-text').textContent = `Posterior of ${images}: mean (${x}, ${y}), variance ${variance}.`;
  }, 500);
};

// ---- moving things -------------------------------------------------------------------------------------------------

const setPoints = points => {
  state.points = points;
  draw();
};
// Two decimals, so that the shown numbers are exact and easy to check.
const snapped = (x, y) => [
  Number(Math.min(Math.max(x, PLANE.left + 0.2), PLANE.right - 0.2).toFixed(2)),
  Number(Math.min(Math.max(y, PLANE.bottom + 0.2), PLANE.top - 0.2).toFixed(2)),
];
const move = (index, x, y) => setPoints(state.points.with(index, snapped(x, y)));
const remove = index => {
  if (state.points.length > 1) setPoints(state.points.filter((_, i) => i !== index));
};

const actions = {
  add: () => {
    const centre = condition(state.points, state.ratio).centre, [e] = standardNormal(100 + state.points.length, 1);
    setPoints([...state.points, snapped(centre[0] + 0.8 * e[0], centre[1] + 0.8 * e[1])]);
  },
  remove: () => remove(state.points.length - 1),
  draws: () => { noise = standardNormal(++state.seed, DRAWS); draw(); },
  reset: () => {
    begin();
    find('#how-many').value = 18;
    draw();
  },
};

element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button?.dataset.do) actions[button.dataset.do]();
  if (button?.dataset.go) {
    state.ratio = Number(button.dataset.go);
    draw();
  }
});
element.addEventListener('input', ({target: {id, name, value}}) => {
  if (id === 'how-lam') state.ratio = Number((10 ** parseFloat(value)).toPrecision(3));
  if (name === 'how-method') state.method.kind = value;
  if (id === 'how-likeness') state.method.likeness = value / 100;
  if (id === 'how-images') state.method.images = Number(value);
  draw();
});

// One drag a pointer: with two fingers, two points move.
const drags = new Map();
const toPlane = event => {
  const {x, y} = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
  return [x, -y];
};
plane.addEventListener('pointerdown', event => {
  const mark = event.target.closest('.mark');
  if (!mark || event.button !== 0) return;
  const index = Number(mark.dataset.index), [x, y] = toPlane(event);
  drags.set(event.pointerId, {index, dx: state.points[index][0] - x, dy: state.points[index][1] - y});
  mark.setPointerCapture(event.pointerId);
  mark.focus({preventScroll: true});
  event.preventDefault();
});
// A finger on a cross moves the cross, beside it the page. The property touch-action does not do on parts of an SVG.
plane.addEventListener('touchstart', event => {
  if (event.target.closest('.mark')) event.preventDefault();
}, {passive: false});
plane.addEventListener('pointermove', event => {
  const drag = drags.get(event.pointerId);
  if (!drag || drag.index >= state.points.length) return;
  const [x, y] = toPlane(event);
  move(drag.index, x + drag.dx, y + drag.dy);
});
for (const end of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  plane.addEventListener(end, event => drags.delete(event.pointerId));
}
plane.addEventListener('keydown', event => {
  const mark = event.target.closest('.mark');
  if (!mark || event.altKey || event.ctrlKey || event.metaKey) return;
  const index = Number(mark.dataset.index), [x, y] = state.points[index], by = event.shiftKey ? 0.5 : 0.1;
  const to = {ArrowLeft: [x - by, y], ArrowRight: [x + by, y], ArrowUp: [x, y + by], ArrowDown: [x, y - by]}[event.key];
  if (to) move(index, ...to);
  else if (event.key === 'Delete' || event.key === 'Backspace') {
    remove(index);
    marks.children[Math.min(index, state.points.length - 1)].focus();
  } else return;
  event.preventDefault();
});

draw();
watch('value', draw);
