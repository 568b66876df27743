"""The scrubber and its strips: one element that moves inside the browser, with no call to the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transflow_core.images import contact_sheet, enlarge

from .render import data_uri

__all__ = ["player", "player_value"]

# The template holds no value: the elements stay, so that a new picture neither moves the page nor loses the focus.
_TEMPLATE = """
<div class="player">
 <div class="stage">
  <canvas role="img" aria-label="No picture yet" width="2" height="1"></canvas>
  <div class="cell-names" aria-hidden="true"></div>
  <p class="hint">Give A and B a few images each, an example set, or a posterior that you saved.<br>
   Or let "Try it" do it.</p>
 </div>
 <div class="bar">
  <button type="button" class="play" aria-label="Play" disabled>
   <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><path class="is-paused" d="M4 2 L14 8 L4 14 Z"/>
   <path class="is-playing" d="M3 2 H7 V14 H3 Z M9 2 H13 V14 H9 Z"/></svg>
  </button>
  <div class="slide">
   <div class="ends"><span class="end-a">A</span><output for="scrubber">t = 0.00</output>
    <span class="end-b">B</span></div>
   <input type="range" id="scrubber" aria-label="Place between A and B" min="0" max="1" step="1" value="0" disabled>
  </div>
 </div>
 <div class="strips"></div>
</div>
"""

_JS = """
const SECONDS = 2.4, GAP = 4;  // from A to B while it plays; between pictures, in pixels of the sprite
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
const find = selector => element.querySelector(selector);
let t = 0, sprite = null, latest = 0, playing = false, direction = 1, before = 0, shownOnce = false, showOff = false;

const draw = () => {
  const value = props.value;
  if (!sprite || !value) return;
  const {frames, cells, size} = value, columns = cells === 4 ? 2 : Math.min(cells, 3);
  const rows = Math.ceil(cells / columns), canvas = find('canvas'), place = size + GAP;
  const width = columns * place - GAP, height = rows * place - GAP;
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const frame = Math.round(t * (frames - 1)), paint = canvas.getContext('2d');
  for (let i = 0; i < cells; i++) {
    const x = (i % columns) * place, y = Math.floor(i / columns) * place;
    paint.drawImage(sprite, i * size, frame * size, size, size, x, y, size, size);
  }
  const at = frames > 1 ? frame / (frames - 1) : 0, words = 't = ' + at.toFixed(2), range = find('input');
  if (Number(range.value) !== frame) range.value = frame;
  range.setAttribute('aria-valuetext', words + ' of the way from ' + value.a + ' to ' + value.b);
  find('output').textContent = words;
  canvas.dataset.frame = frame;
  canvas.setAttribute('aria-label', 'Draws at ' + words + ' between ' + value.a + ' and ' + value.b);
  element.querySelectorAll('.playhead').forEach(head => {
    const steps = Number(head.dataset.steps);
    head.style.left = (100 * (at * (steps - 1) + 0.5) / steps) + '%';
  });
  // A strip that is wider than its place goes along.
  element.querySelectorAll('.scroll').forEach(scroll => {
    scroll.scrollLeft = at * (scroll.scrollWidth - scroll.clientWidth);
  });
};

const setPlaying = on => {
  playing = on;
  const button = find('button.play');
  button.classList.toggle('playing', on);
  button.setAttribute('aria-label', on ? 'Pause' : 'Play');
  before = 0;
  if (on) requestAnimationFrame(tick);
};

const tick = now => {
  if (!playing) return;
  if (!element.isConnected || element.offsetParent === null) { setPlaying(false); return; }
  if (before) t += direction * Math.min(now - before, 100) / (1000 * SECONDS);
  before = now;
  if (t >= 1) { t = 1; direction = -1; }
  if (t <= 0) {
    if (showOff && direction < 0) { showOff = false; setPlaying(false); }  // there and back once, at the first picture
    t = 0; direction = 1;
  }
  draw();
  requestAnimationFrame(tick);
};

const make = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;  // never as HTML: the words may hold names of files
  return made;
};

const buildStrips = value => {
  find('.strips').replaceChildren(...value.strips.map(strip => {
    const figure = make('figure', 'strip'), scroll = make('div', 'scroll'), inner = make('div', 'inner');
    const labels = make('div', 'labels'), frame = make('div', 'frame'), picture = make('img');
    const head = make('div', 'playhead');
    inner.style.setProperty('--steps', strip.labels.length);
    strip.labels.forEach(text => labels.append(make('span', '', text)));
    picture.src = strip.src; picture.alt = strip.alt; picture.width = strip.width; picture.height = strip.height;
    picture.draggable = false;
    head.dataset.steps = strip.labels.length;
    frame.dataset.steps = strip.labels.length;
    frame.append(picture, head);
    inner.append(labels, frame);
    scroll.tabIndex = 0;
    scroll.setAttribute('role', 'group');
    scroll.setAttribute('aria-label', strip.title + ', the strip');
    scroll.append(inner);
    const caption = make('figcaption');
    caption.append(make('b', '', strip.title + '. '), strip.caption);
    figure.append(caption, scroll);
    return figure;
  }));
};

const show = async () => {
  const value = props.value, turn = ++latest, empty = !value || !value.sprite;
  find('.hint').hidden = !empty;
  find('input').disabled = find('button.play').disabled = empty;
  if (empty) {
    setPlaying(false);
    sprite = null; t = 0; direction = 1;
    const canvas = find('canvas');
    canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
    canvas.setAttribute('aria-label', 'No picture yet');
    find('.cell-names').replaceChildren();
    find('.strips').replaceChildren();
    find('output').textContent = 't = 0.00';
    find('.end-a').textContent = 'A'; find('.end-b').textContent = 'B';
    return;
  }
  const image = new Image();
  image.src = value.sprite;
  await image.decode();
  const bitmap = await createImageBitmap(image);  // decoded once, so that a frame costs one copy
  if (turn !== latest) return;
  sprite = bitmap;
  find('input').max = value.frames - 1;
  find('.end-a').textContent = 'A: ' + value.a; find('.end-b').textContent = 'B: ' + value.b;
  find('.cell-names').replaceChildren(...value.labels.map(text => make('span', '', text)));
  buildStrips(value);
  draw();
  if (!shownOnce && !calm.matches) { showOff = true; setPlaying(true); }
  shownOnce = true;
};

element.addEventListener('click', event => {
  if (!event.target.closest('button.play')) return;
  showOff = false;
  setPlaying(!playing);
});
element.addEventListener('input', event => {
  if (!event.target.matches('input[type=range]')) return;
  showOff = false;
  setPlaying(false);
  t = Number(event.target.value) / Math.max(1, props.value.frames - 1);
  draw();
});
const point = event => {
  const frame = event.target.closest && event.target.closest('.strip .frame');
  if (!frame) return;
  const box = frame.getBoundingClientRect(), steps = Number(frame.dataset.steps);
  showOff = false;
  setPlaying(false);
  t = Math.min(1, Math.max(0, ((event.clientX - box.left) / box.width * steps - 0.5) / (steps - 1)));
  draw();
};
element.addEventListener('click', point);
element.addEventListener('pointermove', event => {
  if (event.pointerType === 'mouse' && event.buttons === 1) point(event);
});
show();
watch('value', show);
"""


def player(elem_id: str) -> gr.HTML:
    """A stage with a slider and a play button above labelled strips. Its value is `player_value`'s, or None."""
    return gr.HTML(None, html_template=_TEMPLATE, js_on_load=_JS, elem_id=elem_id, label="From A to B")


def player_value(
    frames: NDArray[np.uint8],
    strips: Sequence[tuple[str, str, NDArray[np.uint8]]],
    *,
    ends: tuple[str, str],
    cell_names: Sequence[str] = (),
) -> dict[str, Any]:
    """What the browser needs: one sprite with every frame, and one picture a strip.

    Args:
        frames: (frames, cells, S, S, 3), what the stage shows at each place of the slider.
        strips: title, caption, and (steps, n, S, S, 3) of each.
        ends: names of A and B.
        cell_names: written below the cells, if there is one for each.
    """
    count, cells, side = frames.shape[:3]
    # Lanczos at twice the size, once: a browser alone would show blocks or blur.
    size = side * max(1, 128 // side)
    rows = [np.concatenate(list(frame), axis=1) for frame in frames]
    sprite = Image.fromarray(np.concatenate(rows, axis=0))
    if size != side:
        # Each picture by itself, so that no edge takes colour from its neighbour.
        enlarged = Image.new("RGB", (cells * size, count * size))
        for i in range(count):
            for j in range(cells):
                enlarged.paste(enlarge(Image.fromarray(frames[i, j]), size), (j * size, i * size))
        sprite = enlarged
    return {
        "sprite": data_uri(sprite, quality=90),
        "frames": count,
        "cells": cells,
        "size": size,
        "labels": list(cell_names),
        "a": ends[0],
        "b": ends[1],
        "strips": [_strip(title, caption, images, ends) for title, caption, images in strips],
    }


def _strip(title: str, caption: str, images: NDArray[np.uint8], ends: tuple[str, str]) -> dict[str, Any]:
    steps, n = images.shape[:2]
    pictures = [Image.fromarray(images[step, draw]) for draw in range(n) for step in range(steps)]
    sheet = contact_sheet(pictures, columns=steps, cell=max(64, min(128, 1600 // steps)), gap=2, background="#808080")
    return {
        "title": title,
        "caption": caption,
        "src": data_uri(sheet),
        "width": sheet.width,
        "height": sheet.height,
        "labels": ["0", *(f"{i / (steps - 1):.2f}" for i in range(1, steps - 1)), "1"],
        "alt": f"{title}: {n} draw{'s' * (n > 1)} at {steps} steps from {ends[0]} to {ends[1]}",
    }
