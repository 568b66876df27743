"""Images at the program's edge: untrusted files in, pictures, sheets and animations out."""

from .animations import ANIMATION_SUFFIXES, save_animation, writes_mp4
from .arrays import to_pil, to_uint8
from .decoding import load_image
from .files import IMAGE_SUFFIXES, find_images
from .members import Member, find_members
from .opening import MAX_BYTES, MAX_PIXELS, ImageError
from .png import read_png_metadata, save_png
from .sheets import contact_sheet, enlarge, labelled_rows, strip

__all__ = [
    "ANIMATION_SUFFIXES",
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageError",
    "Member",
    "contact_sheet",
    "enlarge",
    "find_images",
    "find_members",
    "labelled_rows",
    "load_image",
    "read_png_metadata",
    "save_animation",
    "save_png",
    "strip",
    "to_pil",
    "to_uint8",
    "writes_mp4",
]
