"""What a run writes on its way: a JSON-lines log, TensorBoard's if it is installed, and sheets of samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..images import contact_sheet, save_png, to_pil
from ..limits import is_number
from ..posterior import standard_normal
from ..prior import Prior

__all__ = ["Journal", "sheet"]

_SHEET_SEED = 0


class Journal:
    """`log.jsonl` in the run's folder, one object a line with its "event"; scalars also go to TensorBoard's folder."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board = None
        else:
            self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, event: str, step: int, **facts: Any) -> None:
        """One line."""
        self._file.write(json.dumps({"event": event, "step": step, **facts}) + "\n")
        if self._board is not None:
            for key, value in facts.items():
                if is_number(value):
                    self._board.add_scalar(f"{event}/{key}", value, step)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def sheet(prior: Prior, path: Path, temperature: float, n: int = 16) -> None:
    """Samples of the prior at a fixed seed, so that sheets of one run show the same latents."""
    x = prior.decode(temperature * standard_normal(n, prior.dim, seed=_SHEET_SEED))
    path.parent.mkdir(parents=True, exist_ok=True)
    how = {"prior": prior.name, "temperature": f"{temperature:g}", "seed": str(_SHEET_SEED)}
    save_png(contact_sheet(to_pil(x)), path, metadata=how)
