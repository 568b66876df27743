"""Python that reproduces a classification."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..examples import EXAMPLES
from .pile import Item, Pile
from .result import Rule

__all__ = ["CLASSIFIER_FILE", "python_code"]

CLASSIFIER_FILE = "classifier.safetensors"


def python_code(prior: str, classes: Mapping[str, Pile], queries: Pile, rule: Rule, *, whole: bool) -> str:
    """From the files; from the saved classifier where examples have none of their own, as drawn digits."""
    how = ', whole="always"' if whole else ""
    lines = [
        "import transflow_core as tfc",
        "from transflow_core.fewshot import FewShotClassifier",
        "",
        f"engine = tfc.Engine(tfc.load_prior({prior!r}))",
    ]
    files = {name: _files(pile.used) for name, pile in classes.items()}
    if all(found is not None for found in files.values()):
        arguments = "".join(f", {name}={value!r}" for name, value in rule.arguments.items())
        lines += ["examples = {", *(f"    {name!r}: {found!r}," for name, found in files.items()), "}"]
        lines += [
            f"latents = {{name: engine.evidence(files{how}).z for name, files in examples.items()}}",
            f"classifier = FewShotClassifier(engine.prior{arguments}).fit_latents(latents)",
        ]
    else:
        lines.append(f"classifier = FewShotClassifier.load({CLASSIFIER_FILE!r}, engine.prior)")
    lines += [
        f"queries = engine.evidence({_files(queries.used) or ['query.png']!r}{how})",
        "probabilities, novelty = classifier.predict_proba_latents(queries.z), classifier.novelty(queries.z)",
        "for image, p, novel in zip(queries.used, probabilities, novelty):",
        '    answer = "none of these" if novel > classifier.threshold else classifier.classes[p.argmax()]',
        '    print(f"{image.name}: {answer} ({p.max():.2f}, novelty {novel:.2f})")',
    ]
    return "\n".join(lines)


def _files(items: tuple[Item, ...]) -> list[str] | None:
    """Files as a person has them: examples by their place in the checkout, uploads by name; None when one has none."""
    sources = [item.given.source for item in items]
    if not sources or not all(isinstance(source, str | Path) for source in sources):
        return None
    root = EXAMPLES.parent.parent
    paths = [Path(source) for source in sources]
    return [path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name for path in paths]
