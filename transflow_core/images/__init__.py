"""Untrusted image files in; sheets, PNG files with text and animations out."""

from .files import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from .files import Member as Member
from .files import find_images as find_images
from .files import find_members as find_members
from .files import find_others as find_others
from .output import ANIMATION_SUFFIXES as ANIMATION_SUFFIXES
from .output import read_png_metadata as read_png_metadata
from .output import save_animation as save_animation
from .output import save_jpeg as save_jpeg
from .output import save_png as save_png
from .output import to_pil as to_pil
from .output import writes_mp4 as writes_mp4
from .reading import MAX_BYTES as MAX_BYTES
from .reading import MAX_PIXELS as MAX_PIXELS
from .reading import ImageError as ImageError
from .reading import load_image as load_image
from .sheets import contact_sheet as contact_sheet
from .sheets import enlarge as enlarge
from .sheets import labelled_rows as labelled_rows
