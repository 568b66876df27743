// Put before the scripts that scrub a sprite: frames below one another in one picture.
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
// Decoded once, so that a frame costs one copy.
const bitmapOf = async src => {
  const image = new Image();
  image.src = src;
  await image.decode();
  return createImageBitmap(image);
};
// The place `at` between two frames: the next one fades in over the one before. Who wants less motion sees the nearer.
const fade = (paint, at, copy) => {
  const place = calm.matches ? Math.round(at) : at, frame = Math.floor(place), share = place - frame;
  paint.globalAlpha = 1;
  copy(frame);
  if (share < 0.005) return;
  paint.globalAlpha = share;
  copy(frame + 1);
  paint.globalAlpha = 1;
};
