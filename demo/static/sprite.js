// Comes before the scripts that show a sprite: frames below one another in one picture.
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
// Decoded once, so that a frame costs one copy.
const bitmapOf = async src => {
  const image = new Image();
  image.src = src;
  await image.decode();
  return createImageBitmap(image);
};
// A position `at` between two frames: the next one fades in over the one before. Users who prefer less motion see the
// nearest frame.
const fade = (paint, at, copy) => {
  const position = calm.matches ? Math.round(at) : at, frame = Math.floor(position), share = position - frame;
  paint.globalAlpha = 1;
  copy(frame);
  if (share < 0.005) return;
  paint.globalAlpha = share;
  copy(frame + 1);
  paint.globalAlpha = 1;
};
