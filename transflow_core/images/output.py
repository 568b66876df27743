"""Arrays to pictures, PNG files with text, and animations."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from .reading import ImageError, Source, image_errors, name_of, open_image, read_source

ANIMATION_SUFFIXES = (".webp", ".gif", ".mp4")
"""What `save_animation` writes, by the suffix of the path; an MP4 only where `writes_mp4`."""

_SOURCE = "DigitalSourceType"

_FPS = 12
_XMP_IN_PNG = "XML:com.adobe.xmp"
_XMP_IN_GIF = b"\x21\xff\x0bXMP DataXMP"
_XMP_IN_MP4 = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def to_pil(x: ArrayLike) -> list[Image.Image]:
    """Float images as a list of RGB images. Values are clipped to [0, 1]; those that are not finite become mid-grey.

    Args:
        x: floats in [0, 1], (n, C, H, W) or (C, H, W), of 3 channels or 1, which is grey; anything that `numpy.asarray`
            takes, and any torch tensor.

    Raises ValueError for another shape, or values that are no floats.

    Example:
        >>> to_pil(np.full((3, 1, 1), 0.5))[0].getpixel((0, 0))
        (128, 128, 128)
    """
    tensor: Any = x
    if hasattr(x, "detach"):  # a torch tensor, told by its methods: importing torch would take seconds
        tensor = tensor.detach()
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    values = np.asarray(tensor)
    if not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"images are floats in [0, 1], not {values.dtype}")
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[1] not in (1, 3):
        raise ValueError(f"images are (n, C, H, W) or (C, H, W), of 3 channels or 1, not {np.shape(tensor)}")
    values = np.where(np.isfinite(values), values, 128 / 255)
    bytes_ = np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    bytes_ = np.broadcast_to(bytes_, (*bytes_.shape[:3], 3)).copy()
    return [Image.fromarray(image) for image in bytes_]


def save_png(
    image: Image.Image, path: str | os.PathLike[str] | IO[bytes], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a PNG, to a path or a binary file, with text inside. Most social networks remove the text.

    Keys of `metadata` have 1 to 79 printable Latin-1 characters (the format's rule), values any text without NUL. Where
    "DigitalSourceType" is among them, XMP says so too.
    """
    info, metadata = PngInfo(), metadata or {}
    for key, value in metadata.items():
        info.add_text(key, value)
    if _SOURCE in metadata:
        info.add_itxt(_XMP_IN_PNG, _xmp(metadata[_SOURCE]))
    image.save(path, format="PNG", pnginfo=info)


def save_jpeg(image: Image.Image, path: str | os.PathLike[str], *, source: str) -> None:
    """Write a JPEG of high quality. Its XMP holds `source`, but nothing else of how it was made: a PNG has that."""
    image.convert("RGB").save(path, format="JPEG", quality=95, subsampling=0, xmp=_xmp(source).encode())


def read_png_metadata(source: Source) -> dict[str, str]:
    """The text inside an untrusted PNG: keyword to text, in the file's order; empty where there is none.

    Raises ImageError if it is no PNG, or one that `load_image` would refuse.
    """
    name = name_of(source)
    data = read_source(source, name)
    with image_errors(name):
        image = open_image(data, name)
        if not isinstance(image, PngImageFile):
            raise ImageError(name, f"this is a {image.format} image. Only a PNG carries how it was made.")
        if image.is_animated:  # what follows the pixels would be read by decoding all frames
            raise ImageError(name, "this is an animation. Only a still PNG carries how it was made.")
        return {key: str(text) for key, text in image.text.items() if key != _XMP_IN_PNG}


def _xmp(source: str) -> str:
    """What made a picture, in the words of the IPTC: "trainedAlgorithmicMedia", or "compositeWith…" of one.

    References:
        | Digital Source Type NewsCodes (IPTC)
        | https://cv.iptc.org/newscodes/digitalsourcetype/
    """
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
        f'"http://cv.iptc.org/newscodes/digitalsourcetype/{source}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def writes_mp4() -> bool:
    """Whether PyAV, an optional package of 104 MB, is installed."""
    return find_spec("av") is not None


def check_animation(path: Path) -> None:
    """Raises ValueError for an MP4 where `writes_mp4` says no."""
    if path.suffix.lower() == ".mp4" and not writes_mp4():
        raise ValueError("an MP4 needs PyAV, which is not installed here (pip install av); WebP and GIF need no more")


def save_animation(
    frames: Sequence[Image.Image],
    path: str | os.PathLike[str],
    *,
    loop: bool = False,
    source: str = "trainedAlgorithmicMedia",
) -> None:
    """Write frames as an animation of 12 a second that plays for ever: forwards and then backwards.

    `.webp` is the smallest and has all colours; `.gif` plays everywhere; `.mp4` (H.264, 4:2:0, BT.709) suits video
    editors and social networks, and odd sides of it grow by a pixel. There is at least one frame; all have one size.
    With `loop` it plays forwards alone, because the last frame leads to the first one. The file's XMP holds `source`.

    Raises ValueError for another suffix, or an MP4 without PyAV; the message says what to install.
    """
    frames = [frame.convert("RGB") for frame in frames]
    frames += [] if loop else frames[-2:0:-1]
    path = Path(path)
    suffix, xmp = path.suffix.lower(), _xmp(source).encode()
    how: dict[str, Any]
    if suffix == ".webp":
        how = {"format": "WEBP", "xmp": xmp, "duration": round(1000 / _FPS), "quality": 85, "method": 4}
    elif suffix == ".gif":
        palette = _shared_palette(frames)
        # Dithered: without, the borders between flat areas crawl over a morphing face.
        frames = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
        how = {"format": "GIF", "duration": round(100 / _FPS) * 10, "optimize": False}
    elif suffix == ".mp4":
        _save_mp4(frames, path)
        with path.open("ab") as file:  # a box that players pass over
            file.write((24 + len(xmp)).to_bytes(4, "big") + b"uuid" + _XMP_IN_MP4 + xmp)
        return
    else:
        raise ValueError(f"an animation is saved as {', '.join(ANIMATION_SUFFIXES)}, not as {suffix or 'no suffix'!r}")
    frames[0].save(path, save_all=True, append_images=frames[1:], loop=0, **how)
    if suffix == ".gif":  # Pillow writes none. Readers find the end by bytes that count down.
        content, countdown = path.read_bytes(), bytes([1, *range(255, -1, -1), 0])
        start = 13 + (6 << (content[10] & 7)) * (content[10] >> 7)  # behind the header and its palette
        path.write_bytes(content[:start] + _XMP_IN_GIF + xmp + countdown + content[start:])


def _shared_palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all frames, so that colours do not flicker from frame to frame."""
    every = max(1, len(frames) // 16)
    sampled = np.concatenate([np.asarray(frame) for frame in frames[::every]])
    return Image.fromarray(sampled).quantize(256, method=Image.Quantize.MEDIANCUT)


def _save_mp4(frames: Sequence[Image.Image], path: Path) -> None:
    check_animation(path)
    import av

    width, height = (side + side % 2 for side in frames[0].size)
    # An absolute path, because FFmpeg would take "a:b.mp4" for a protocol.
    with av.open(str(path.resolve()), "w", format="mp4", options={"movflags": "+faststart"}) as file:
        stream = file.add_stream("libx264", rate=_FPS)
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
