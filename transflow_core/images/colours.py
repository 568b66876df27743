"""Any mode and colour profile of Pillow to 8-bit RGB in sRGB, a strip at a time, so that memory stays bounded."""

import functools
import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

__all__ = ["to_rgb"]

# What the conversions of one strip hold besides the picture is 20 bytes a pixel, 32 for 32-bit greys.
_STRIP_PIXELS = 2**20

_Conversion = Callable[[Image.Image], Image.Image]


def to_rgb(image: Image.Image, reduction: int = 1) -> Image.Image:
    """A new image without metadata, its width and height divided by `reduction` (rounded up); the input stays as it is.

    A transparent image is composited on white. Greyscale of more than 8 bits is scaled as `load_image` says.
    """
    convert = _conversion(image)
    rgb = Image.new("RGB", (-(-image.width // reduction), -(-image.height // reduction)))
    for top, strip in _strips(image, reduction):
        strip = convert(strip)
        rgb.paste(strip.reduce(reduction) if reduction > 1 else strip, (0, top // reduction))
    return rgb


def _strips(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """The strips from top to bottom, each of whole `multiple`s of rows but the last, and where they begin."""
    rows = max(1, _STRIP_PIXELS // image.width // multiple) * multiple
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _conversion(image: Image.Image) -> _Conversion:
    """How a strip of this image becomes RGB."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):  # what a 16-bit PNG or TIFF holds: its range is its format's
        return lambda strip: _grey(np.asarray(strip, np.uint16), 1 / 257, 0)
    if image.mode in ("I", "F"):
        return _grey_by_range(image)
    if image.has_transparency_data:
        to_srgb = _to_srgb(profile, "RGBA")
        return lambda strip: _over_white(to_srgb(_in_mode(_in_mode(strip, "LA", only="La"), "RGBA"))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.ImageCmsTransform(_lab(), _srgb(), "LAB", "RGB").apply
    mode = {"1": "L", "P": "RGB", "HSV": "RGB", "YCbCr": "RGB"}.get(image.mode, image.mode)
    to_srgb = _to_srgb(profile, mode)
    return lambda strip: _in_mode(to_srgb(_in_mode(strip, mode)), "RGB")


def _in_mode(image: Image.Image, mode: str, only: str | None = None) -> Image.Image:
    return image if image.mode == mode or only not in (None, image.mode) else image.convert(mode)


def _over_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _grey_by_range(image: Image.Image) -> _Conversion:
    """Modes I and F, by the range that all values suggest. Pillow's own conversion clips everything above 255."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:  # none is finite
        low, high = 0.0, 0.0
    if image.mode == "F" and low >= 0 and high <= 1:
        scale, low = 255.0, 0.0
    elif low >= 0 and high <= 65535:
        scale, low = (1.0 if high <= 255 else 1 / 257), 0.0
    elif high > low:
        scale = 255 / (high - low)
    else:
        return lambda strip: Image.new("RGB", strip.size, (128, 128, 128))
    return lambda strip: _grey(np.asarray(strip), scale, low)


def _grey(values: np.ndarray, scale: float, low: float) -> Image.Image:
    values = np.where(np.isfinite(values), (values.astype(np.float64) - low) * scale, 127.5)
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8)).convert("RGB")


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@functools.cache
def _lab() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


def _to_srgb(profile: bytes | None, mode: str) -> _Conversion:
    """Convert by the embedded profile; a profile that is broken or of another colour space is passed over."""
    if not profile:
        return _as_it_is
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(embedded):
            return _as_it_is  # nearly all that have one; from sRGB to sRGB takes 0.2 s on a phone photograph
        out = "RGBA" if mode == "RGBA" else "RGB"
        transform = ImageCms.ImageCmsTransform(embedded, _srgb(), mode, out)
        transform.apply(Image.new(mode, (1, 1)))
    except Exception:
        return _as_it_is
    return transform.apply


def _as_it_is(strip: Image.Image) -> Image.Image:
    return strip
