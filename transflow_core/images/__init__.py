"""Untrusted image files in; sheets, PNG files with text and animations out."""

from .files import IMAGE_SUFFIXES, Member, find_images, find_members, find_others
from .output import (
    ANIMATION_SUFFIXES,
    read_png_metadata,
    save_animation,
    save_jpeg,
    save_png,
    to_pil,
    to_uint8,
    writes_mp4,
)
from .reading import MAX_BYTES, MAX_PIXELS, ImageError, load_image
from .sheets import contact_sheet, enlarge, labelled_rows

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
    "find_others",
    "labelled_rows",
    "load_image",
    "read_png_metadata",
    "save_animation",
    "save_jpeg",
    "save_png",
    "to_pil",
    "to_uint8",
    "writes_mp4",
]
