"""Untrusted image files in; sheets, PNG files with text and animations out."""

from .files import find_images as find_images
from .output import save_animation as save_animation
from .output import to_pil as to_pil
from .reading import ImageError as ImageError
from .reading import load_image as load_image
from .sheets import contact_sheet as contact_sheet
from .sheets import labelled_rows as labelled_rows
