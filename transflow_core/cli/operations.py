"""The commands of the recipes: read what is needed, run, write, and say what happened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..recipes import Reading, Recipe, to_text
from .work import working

__all__ = ["run_recipe"]


def run_recipe(
    model: type[Recipe],
    values: Mapping[str, Any],
    inputs: Mapping[str, Any],
    output: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """One command from its options to its files. All that can be checked is checked before anything is loaded."""
    with working(as_json) as work:
        recipe = model.from_texts({name: to_text(value) for name, value in values.items()})
        assert isinstance(recipe, Reading)  # every recipe reads images
        files = {name: _files(model, name, value) for name, value in inputs.items() if value}
        if output is not None:
            from ..operations.result import check_suffix

            check_suffix(model, output)
            recipe = recipe.written_as(output.suffix.lower().removeprefix("."))
        reads = [path for name, one in model.inputs.items() if one.kind in ("images", "set") for path in files[name]]
        whole = {"auto": "auto", "never": "always", "always": "never"}[recipe.align]
        engine = work.engine(recipe.prior, device, reads, whole=whole, landmarks=recipe.landmarks)
        if isinstance(files.get("examples"), Path):
            from ..fewshot import FewShotClassifier

            files["examples"] = FewShotClassifier.load(files["examples"], engine.prior)
        result = engine.run(recipe, progress=work.progress, **files)
        for line in result.lines:
            work.say(line)
        for path in result.save(output) if output is not None else ():
            work.wrote(path)
        work.result |= result.facts


def _files(model: type[Recipe], name: str, given: Any) -> Any:
    """Paths as an engine takes them: folders opened; of classes, by the names of their folders."""
    from ..images import find_images

    paths: list[Path] = given if isinstance(given, list) else [given]
    if model.inputs[name].kind == "masks":
        return paths
    if model.inputs[name].kind != "classes":
        return find_images(paths)
    if len(paths) == 1 and paths[0].suffix.lower() == ".safetensors":
        return paths[0]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"Two classes have one name: {', '.join(names)}.")
    return {name: find_images([path]) for name, path in zip(names, paths, strict=True)}
