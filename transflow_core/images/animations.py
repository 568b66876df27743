"""Animations: WebP and GIF by Pillow, MP4 that a browser plays by PyAV."""

import os
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["ANIMATION_SUFFIXES", "save_animation", "writes_mp4"]

ANIMATION_SUFFIXES = (".webp", ".gif", ".mp4")
"""What `save_animation` writes, by the suffix of the path; an MP4 only where `writes_mp4`."""


def writes_mp4() -> bool:
    """Whether PyAV, an optional package of 104 MB, is installed."""
    return find_spec("av") is not None


def save_animation(
    frames: Sequence[Image.Image],
    path: str | os.PathLike[str],
    *,
    fps: float = 12.0,
    loop: bool = True,
    boomerang: bool = False,
) -> None:
    """Write frames as an animation, in the format that the path's suffix names.

    `.webp` is the smallest and has all colours; `.gif` is for where nothing else is shown; `.mp4` (H.264, 4:2:0,
    BT.709) is what video editors and social networks take, and every browser plays it. Odd sizes grow by a pixel in an
    MP4, as its colour needs whole pairs of pixels.

    Args:
        frames: at least one, all of one size.
        path: where to write; `.webp`, `.gif` or `.mp4`.
        fps: frames a second, above 0 and at most 50 (browsers slow a faster GIF down). A GIF counts hundredths of a
            second, so that its rate is rounded.
        loop: play for ever; otherwise once. An MP4 has no such mark: there the player decides.
        boomerang: play forwards and then backwards, so that a loop has no jump; the ends are shown once.

    Raises:
        ValueError: no frames, frames of different sizes, another suffix, an `fps` out of range, or an MP4 without PyAV;
            the message says what to install.
    """
    frames = [frame.convert("RGB") for frame in frames]
    if not frames:
        raise ValueError("an animation needs at least one frame")
    if len({frame.size for frame in frames}) > 1:
        raise ValueError(f"frames differ in size: {sorted({frame.size for frame in frames})}")
    if not 0 < fps <= 50:
        raise ValueError(f"fps must be above 0 and at most 50, not {fps}")
    if boomerang:
        frames += frames[-2:0:-1]
    path = Path(path)
    match path.suffix.lower():
        case ".webp":
            _save_webp(frames, path, fps, loop)
        case ".gif":
            _save_gif(frames, path, fps, loop)
        case ".mp4":
            _save_mp4(frames, path, fps)
        case suffix:
            raise ValueError(
                f"an animation is saved as {', '.join(ANIMATION_SUFFIXES)}, not as {suffix or 'no suffix'!r}"
            )


def _save_webp(frames: Sequence[Image.Image], path: Path, fps: float, loop: bool) -> None:
    frames[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / fps),
        loop=0 if loop else 1,
        quality=85,
        method=4,
    )


def _save_gif(frames: Sequence[Image.Image], path: Path, fps: float, loop: bool) -> None:
    palette = _shared_palette(frames)
    # Dithered: without, the borders between flat areas crawl over a morphing face, which is worse than a fine grain.
    indexed = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    indexed[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=round(100 / fps) * 10,
        optimize=False,
        **({"loop": 0} if loop else {}),
    )


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all frames, so that colours do not flicker from frame to frame."""
    every = max(1, len(frames) // 16)
    sampled = np.concatenate([np.asarray(frame) for frame in frames[::every]])
    return Image.fromarray(sampled).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)


def _save_mp4(frames: Sequence[Image.Image], path: Path, fps: float) -> None:
    if not writes_mp4():
        raise ValueError(
            "an MP4 needs PyAV, which is not installed here (pip install av); WebP and GIF need nothing more"
        )
    import av

    width, height = (side + side % 2 for side in frames[0].size)
    # An absolute path, because FFmpeg would take "a:b.mp4" for a protocol.
    with av.open(str(path.resolve()), "w", format="mp4", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "medium"}
        # Untagged, players guess the matrix by the size, and faces turn greenish where they guess differently.
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # 16-235
        for frame in frames:
            pixels = np.asarray(frame)
            pixels = np.pad(pixels, ((0, height - frame.height), (0, width - frame.width), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
