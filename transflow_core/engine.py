"""The program in one object: read files into evidence, and run a recipe on evidence."""

import threading
import time
from dataclasses import replace
from typing import Any

from .compute import Cancelled as Cancelled
from .compute import Progress as Progress
from .compute import Samples as Samples
from .operations import OPERATIONS, Call, Result
from .reading import Reader
from .recipes import Recipe, plain


class Engine(Reader):
    """A prior at work: every operation by one call, beside what it is made of (see `Reader` and `Compute`).

    Example:
        >>> from PIL import Image
        >>> from transflow_core import Sample, load_prior
        >>> engine = Engine(load_prior("celeba64"))
        >>> result = engine.run(Sample(n=2, prior="celeba64"), evidence=[Image.new("RGB", (64, 64), "grey")])
        >>> result.recipe.method, result.overview.size, result.facts["m"]
        ('local', (268, 136), 1.0)
    """

    def run(
        self,
        recipe: Recipe,
        *,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        side: int | None = None,
        **inputs: Any,
    ) -> Result:
        """Run a recipe.

        Args:
            recipe: what to do. Its `prior` is taken for granted: this engine's is used.
            progress: see `Compute.sample`.
            cancel: set it to end with Cancelled at the next batch.
            side: pixels a side that are enough where pictures are shown small: see `Prior.decode`. By default all.
            inputs: those of the recipe, by name: paths, bytes, binary files or PIL images; or `Evidence` that was
                read before; of a set also a `Posterior`; for classes a mapping from their names to images.

        Raises ValueError, in words, for an input that is missing or cannot be used, and for a number that does not fit
        this prior.
        """
        missing = [name for name, one in recipe.inputs.items() if name not in inputs and one.kind != "masks"]
        unknown = inputs.keys() - recipe.inputs.keys()
        if missing or unknown:
            wrong = f"needs {', '.join(missing)}" if missing else f"takes no {', '.join(sorted(unknown))}"
            raise ValueError(f"{recipe.title()} {wrong}.")
        if "prior" not in recipe.model_fields_set:  # nobody chose one: the result says which it was
            recipe = recipe.model_copy(update={"prior": self.prior.name})
        started = time.perf_counter()
        result = OPERATIONS[recipe.title()](Call(self, recipe, inputs, progress, cancel, side))
        done = {"recipe": recipe.title(), **result.recipe.model_dump(exclude_none=True)}
        facts = self.prior.provenance | {"recipe": done} | result.facts
        return replace(result, facts=plain(facts) | {"seconds": round(time.perf_counter() - started, 3)})
