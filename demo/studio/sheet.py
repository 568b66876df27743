"""The samples on the page: one sheet. The user can enlarge each sample, save it, and use it as an image."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from transflow_core.images import contact_sheet, save_png, to_pil

from ..examples import title_of
from ..render import data_uri
from ..server.events import Updates
from ..static import FOLDER, static
from ..widgets import relay
from .settings import Request
from .view_state import Result

__all__ = ["GAP", "Enlarged", "Sheet", "description_of", "sheet_picture"]

GAP = 2
"""Pixels between the cells."""
_MOST_ENLARGED = 40  # samples of one visitor, at most 60 kB each: those that were enlarged, and pinned ones


class Enlarged:
    """The last samples that one visitor enlarged: name and content of a file, by an id."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[str, bytes]] = OrderedDict()

    def put(self, key: str, name: str, content: bytes) -> None:
        """Keep one, and forget the oldest where there are too many."""
        self._files[key] = name, content
        self._files.move_to_end(key)
        while len(self._files) > _MOST_ENLARGED:
            self._files.popitem(last=False)

    def get(self, data: dict) -> tuple[str, bytes]:
        """Name and content of the sample with an event's `id`. Raises ValueError if there is none."""
        found = self._files.get(str(data.get("id")))
        if found is None:
            raise ValueError("This sample has expired. Open it again, or upload its file.")
        return found


class Sheet:
    """Build the sheet inside the current Blocks.

    Args:
        opening: whether it shows a picture of the first samples of a page without an address, until they are drawn.

    Its scripts trigger events of `view`: `expand`, when a sample was enlarged ({"index"}); `apply`, when a sample
    becomes evidence ({"id"}).

    Attributes:
        view: see above.
        sample, strip: the components for the value of `enlarge` and of a `Strip`.
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

    def shown(self, pictures: Sequence[Image.Image], request: Request, strip: int) -> Updates:
        """The sheet of these samples.

        Args:
            pictures: the samples, or previews of them.
            request: what they were drawn from.
            strip: the number of the strip for a drag of λ; 0 for none.
        """
        sheet, ratio = sheet_picture(pictures), request.settings.recipe.lam_ratio
        cell = max(pictures[0].size)
        cell *= -(-128 // cell)
        value = {
            "src": data_uri(sheet),
            "alt": f"{request.settings.recipe.n} samples, {description_of(request)}",
            "n": len(pictures),
            "columns": (sheet.width - GAP) // (cell + GAP),
            "cell": cell,
            "gap": GAP,
            "strip": strip,
            "lam": None if ratio is None or isinstance(ratio, tuple) else math.log10(ratio),
        }
        return {self.view: value}

    def enlarge(self, result: Result, index: object, enlarged: Enlarged) -> Updates:
        """One of the samples, at its own size, as a file that contains its recipe."""
        if not isinstance(index, int) or not 0 <= index < len(result.pictures):
            return {}
        buffer, request = io.BytesIO(), result.request
        save_png(result.pictures[index], buffer, metadata=result.metadata | {"sample": f"{index}"})
        key = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
        recipe = request.settings.recipe
        stem = request.evidence.example or ("samples" if request.evidence.ready else "prior")
        name = f"{stem}_seed{recipe.seed}_{index + 1:02d}.png"
        enlarged.put(key, name, buffer.getvalue())
        text = f"Sample {index + 1} of {recipe.n}: {description_of(request)}, seed {recipe.seed}"
        src = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        value = {"id": key, "index": index, "src": src, "name": name, "text": text}
        return {self.sample: value | {"closest": _closest(result, index)}}


def _closest(result: Result, index: int) -> dict[str, str] | None:
    """The image of the evidence that is closest to a sample, and its distance as text."""
    if not result.closest:
        return None
    found, images = result.closest[index], result.engine.looks(result.request.evidence.posterior()).images
    image = images[found.index].flip(-1) if found.mirrored else images[found.index]
    mirrored = ", mirrored" if found.mirrored else ""
    scale = "0 is a copy, 1 is as different as two of your images" if len(images) > 1 else "0 is a copy"
    text = f"Closest of your images: {found.name}{mirrored}. Distance {found.distance:.2f} ({scale})."
    return {"src": data_uri(to_pil(image[None])[0]), "text": text}


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


def description_of(request: Request) -> str:
    """What samples are drawn from, as a text in the place of the picture."""
    if not request.evidence.ready:
        return "of the model alone"
    return f"{title_of(request.evidence).lower()}, λ/m {request.settings.lam_text}"
