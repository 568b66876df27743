"""The samples on the page: one sheet, each of whose cells can be enlarged, kept and used again."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from transflow_core.images import contact_sheet, save_png, to_pil

from ..examples import title_of
from ..render import data_uri
from ..static import FOLDER, static
from ..widgets import relay
from .screen import Whole
from .settings import Asked

__all__ = ["GAP", "Enlarged", "Sheet", "sheet_picture"]

GAP = 2
"""Pixels between the cells."""
_MOST_GIVEN = 40  # samples of one visitor, at most 60 kB each: those on the sheet that were looked at, and pinned ones
Shown = dict[Component, Any]


class Enlarged:
    """What one visitor enlarged: name and content of files, by the id that the page knows them by; the last ones."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    def put(self, key: str, name: str, content: bytes) -> None:
        """Keep one, and no more than there may be."""
        self._files[key] = name, content
        self._files.move_to_end(key)
        while len(self._files) > _MOST_GIVEN:
            self._files.popitem(last=False)

    def get(self, data: dict) -> tuple[str, bytes]:
        """Name and content of the one that an event's `id` names. Raises ValueError if there is none."""
        found = self._files.get(str(data.get("id")))
        if found is None:
            raise ValueError("That sample is no longer kept here. Enlarge it again, or drop its file on the evidence.")
        return found


class Sheet:
    """Build the sheet inside the current Blocks.

    Args:
        opening: whether it shows what a page that has no address will, before that is made.

    Its scripts tell, as events of `view`: `expand`, that a sample was enlarged ({"index"}); `apply`, that one is to be
    evidence ({"id"}).

    Attributes:
        view: see above.
        sample, strip: what `one` and a strip give values for.
    """

    def __init__(self, opening: bool) -> None:
        self.view = gr.HTML(
            _opening() if opening else None,
            html_template=static("sheet.html"),
            js_on_load=static("sprite.js") + static("sheet.js"),
            elem_id="sheet",
            label="Samples",
        )
        self.sample, self.strip = relay("sample"), relay("strip")

    def shown(self, pictures: Sequence[Image.Image], asked: Asked, strip: int) -> Shown:
        """The sheet of these samples.

        Args:
            pictures: the samples, or previews of them.
            asked: what they are of.
            strip: the number of the strip that moves them; 0 for none.
        """
        sheet, ratio = sheet_picture(pictures), asked.settings.recipe.lam_ratio
        cell = max(pictures[0].size)
        cell *= -(-128 // cell)
        value = {
            "src": data_uri(sheet),
            "alt": f"{asked.settings.recipe.n} samples, {words_of(asked)}",
            "n": len(pictures),
            "columns": (sheet.width - GAP) // (cell + GAP),
            "cell": cell,
            "gap": GAP,
            "strip": strip,
            "place": None if ratio is None or isinstance(ratio, tuple) else math.log10(ratio),
        }
        return {self.view: value}

    def one(self, whole: Whole, index: object, given: Enlarged) -> Shown:
        """One of the samples, at its own size, as a file that says how it was made."""
        if not isinstance(index, int) or not 0 <= index < len(whole.pictures):
            return {}
        buffer, asked = io.BytesIO(), whole.asked
        save_png(whole.pictures[index], buffer, metadata=whole.how | {"sample": f"{index}"})
        key = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
        stem = asked.intake.example or ("samples" if asked.intake.ready else "prior")
        name = f"{stem}_seed{asked.settings.recipe.seed}_{index + 1:02d}.png"
        given.put(key, name, buffer.getvalue())
        words = f"Sample {index + 1} of {asked.settings.recipe.n}: {words_of(asked)}, seed {asked.settings.recipe.seed}"
        src = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        value = {"id": key, "index": index, "src": src, "name": name, "words": words}
        return {self.sample: value | {"closest": _closest(whole, index)}}


def _closest(whole: Whole, index: int) -> dict[str, str] | None:
    """The image of the evidence that a sample is closest to, and how close, in words."""
    if not whole.closest:
        return None
    found, images = whole.closest[index], whole.engine.looks(whole.asked.intake.posterior()).images
    image = images[found.index].flip(-1) if found.mirrored else images[found.index]
    mirrored = ", mirrored" if found.mirrored else ""
    scale = "0 is a copy, 1 is as different as two of your images" if len(images) > 1 else "0 is a copy"
    words = f"Closest of your images: {found.name}{mirrored}, {found.distance:.2f} ({scale})"
    return {"src": data_uri(to_pil(image[None])[0]), "words": words}


def _opening() -> dict[str, Any]:
    """The picture of `assets/make_pictures.py`."""
    src = f"data:image/jpeg;base64,{base64.b64encode((FOLDER / 'opening.jpg').read_bytes()).decode()}"
    return {
        "src": src,
        "alt": "16 samples",
        "n": 16,
        "columns": 4,
        "cell": 128,
        "gap": GAP,
        "strip": 0,
        "opening": True,
    }


def sheet_picture(pictures: Sequence[Image.Image], cell: int | None = None, gap: int = GAP) -> Image.Image:
    """The samples in reading order, on grey; see `contact_sheet`."""
    return contact_sheet(pictures, background="#808080", cell=cell, gap=gap)


def words_of(asked: Asked) -> str:
    """What samples are of, for who cannot see them."""
    if not asked.intake.ready:
        return "of the prior itself"
    return f"{title_of(asked.intake).lower()}, λ/m {asked.settings.words}"
