"""What a command prints: its progress, its facts or `--json`, and an error as one sentence."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from ..priors.catalogue import ASSETS, example, shipped_examples, shipped_image_size
from ..recipes import Reading, Recipe, check_suffix, to_text

if TYPE_CHECKING:
    from ..engine import Engine


# To start a process takes as long as to read a few pictures. Pictures that are read wait in memory.
_WORTH_A_PROCESS, _BEGUN = 8, 64


class Work:
    """One command at work.

    Attributes:
        result: what `--json` prints in the end.
        live: whether a progress bar is shown.
        speaks: False where another process of the same run prints.
        skipped: how many files cannot be used.
    """

    def __init__(self, as_json: bool, bar: Progress) -> None:
        self.as_json, self._bar = as_json, bar
        self.live, self.speaks, self.skipped = not bar.disable, True, 0
        self.result: dict[str, Any] = {}
        self._task = bar.add_task("loading", total=None)

    def say(self, words: str) -> None:
        """Print a line: on standard output, or with `--json` on standard error."""
        self.print(words, sys.stderr if self.as_json else sys.stdout)

    def print(self, words: str, stream: Any) -> None:
        """Print a line, unless another process does, or a pipe ends early, as of `| head`: work goes on then."""
        try:
            if self.speaks:
                print(words, file=stream, flush=True)
        except BrokenPipeError:
            self.speaks = False
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # Python flushes it once more in the end

    def read(self, name: str, summary: str, problem: str | None) -> None:
        """Report what happened to a file, and whether it cannot be used."""
        self.skipped += problem is not None
        if summary:
            self.say(f"{name}: {summary}")

    def check_output(self, path: Path, given: Iterable[Path | None] = (), folder: bool = False) -> None:
        """Raises ValueError where nothing can be written, before it is computed. A folder that is missing is made.

        `folder` says that it is one, whatever its suffix. What is given is not overwritten.
        """
        from ..images.output import check_animation

        check_animation(path)
        if str(path) == "-":
            raise ValueError("-o - is standard output, where no result goes. Give the name of a file or folder.")
        if path.exists() and any(one and one.exists() and one.samefile(path) for one in given):
            raise ValueError(f"{path} is given, so it is not written over. Choose another name with -o.")
        if path.suffix and not folder and not path.parent.exists():
            raise ValueError(f"{path}: there is no folder {path.parent}")
        at = next(one for one in (path, *path.absolute().parents) if one.exists())
        is_folder = folder or at != path or not path.suffix  # as it must be
        if at.is_dir() != is_folder:
            raise ValueError(f"{path}: you cannot write there: {at} is a {'folder' if at.is_dir() else 'file'}")
        if not os.access(at, os.W_OK):
            raise ValueError(f"{path}: you cannot write there")

    def wrote(self, path: Path) -> None:
        """Report a file that was written."""
        self.result.setdefault("files", []).append(str(path))
        self.say(f"wrote {path}")

    def progress(self, done: int, total: int, what: str) -> None:
        """Show progress as a bar on standard error."""
        self._bar.update(self._task, completed=done, total=total, description=what)

    def engine(self, prior: str, device: str, **how: Any) -> "Engine":
        """An engine with this prior; keywords as for `Engine`."""
        from ..engine import Engine
        from ..priors.catalogue import load_prior
        from ..priors.prior import pick_device

        pick_device(device)  # refused before the model is read
        engine = Engine(load_prior(prior, device=device), **how)
        self.result |= {"prior": engine.prior.name, "device": engine.prior.info()["device"]}
        return engine


@contextmanager
def working(as_json: bool) -> Iterator[Work]:
    """Run one command: progress while it works, its JSON in the end, and an error as one sentence."""
    start, console = time.perf_counter(), Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    try:
        # What is printed goes above the bar, and where standard output is a file or a pipe, into that.
        how: dict[str, Any] = {"transient": True, "disable": not console.is_terminal}
        seen = sys.stdout is not None and sys.stdout.isatty()  # it may be closed: >&-
        with Progress(*columns, console=console, redirect_stdout=seen, **how) as bar:
            work = Work(as_json, bar)
            yield work
    except (ValueError, OSError) as error:
        words = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            words = f"{error.filename}: {error.strerror}"
        print(f"error: {words}", file=sys.stderr)
        raise typer.Exit(1) from error
    if as_json:
        work.print(json.dumps(work.result | {"seconds": round(time.perf_counter() - start, 3)}), sys.stdout)


def run_recipe(
    model: type[Recipe],
    values: Mapping[str, Any],
    inputs: Mapping[str, Any],
    output: Path | None,
    device: str,
    strict: bool,
    as_json: bool,
) -> None:
    """Run the command of a recipe, from its options to its files. Options are checked before anything is loaded.

    What happened to each file that was given, or lies in a folder that was, is a line.
    """
    from ..pictures import PictureReader

    with working(as_json) as work, ExitStack() as until_the_end:
        recipe = model.from_texts({name: to_text(value) for name, value in values.items()})
        assert isinstance(recipe, Reading)  # every recipe reads images
        if output is not None:
            check_suffix(model, output)
            work.check_output(output, [path for value in inputs.values() for path in _listed(value)])
        files = {name: _files(work, model, name, value, output) for name, value in inputs.items() if value}
        if output is not None:
            recipe = recipe.written_as(output.suffix.lower().removeprefix("."))
        images = [path for name, one in model.inputs.items() if one.kind in ("images", "set") for path in files[name]]
        reader = PictureReader() if len(images) >= _WORTH_A_PROCESS else None
        size = getattr(recipe, "size", None) or shipped_image_size(recipe.prior)
        if reader is not None and size is not None:  # they are read while torch is loaded
            how = {"size": size, "align": recipe.align, "landmarks": recipe.landmarks}
            until_the_end.enter_context(reader.begun(images[:_BEGUN], **how))
        engine = work.engine(recipe.prior, device, pictures=reader)
        if isinstance(files.get("examples"), Path):
            from ..fewshot import FewShotClassifier

            files["examples"] = FewShotClassifier.load(files["examples"], engine.prior)
        result = engine.run(recipe, progress=work.progress, **files)
        for one in _files_in(result.facts):
            summary, weight = one.get("summary", ""), one.get("effective_weight", 1)
            if one["problem"] is None and weight < one.get("weight", 1):
                summary += f"; its weight is {weight:.2g}"
            work.read(one["name"], summary, one["problem"])
        for line in result.lines:
            work.say(line)
        if strict and work.skipped:
            raise ValueError(f"--strict: {work.skipped} of the files could not be used, so nothing is written")
        for path in result.save(output) if output is not None else ():
            work.wrote(path)
        work.result |= result.facts


def _files_in(facts: Any) -> Iterator[dict[str, Any]]:
    """What the facts say of each file, wherever they say it."""
    if isinstance(facts, dict) and "problem" in facts and isinstance(facts.get("name"), str):  # no class of this name
        yield facts
    for one in facts.values() if isinstance(facts, dict) else facts if isinstance(facts, list | tuple) else ():
        yield from _files_in(one)


def _listed(given: Any) -> list[Path]:
    return given if isinstance(given, list) else [given]


def _files(work: Work, model: type[Recipe], name: str, given: Any, output: Path | None) -> Any:
    """Paths as an engine takes them: the images in folders, but what an earlier run wrote there; classes by the names
    of their folders."""
    from ..images.files import find_images, find_others

    paths = _listed(given)
    for other, is_text in find_others(paths):  # only a text is surely no image that was left out
        why = "this is a text file" if is_text else "this is not the name of an image"
        work.read(other.name, f"skipped: {why}.", None if is_text else why)
    ships = set(map(Path, shipped_examples()))
    paths = [ASSETS / "examples" / path if path in ships and not path.exists() else path for path in paths]
    if model.inputs[name].kind == "masks":  # one mask may be given for several images
        return [mask for path in paths for mask in (find_images(path) if path.is_dir() else [path])]
    if model.inputs[name].kind != "classes":  # an example set in its order, so that Python and the page draw the same
        sets = (example(path.name) if path.parent == ASSETS / "examples" and path.is_dir() else [] for path in paths)
        found = find_images(file for path, files in zip(paths, sets, strict=True) for file in files or [path])
        earlier = [file for file in found if output is not None and file not in paths and _written(file, output)]
        for file in earlier:
            work.read(file.name, "skipped: an earlier run wrote it.", None)
        return [file for file in found if file not in earlier]
    if len(paths) == 1 and paths[0].suffix.lower() == ".safetensors":
        return paths[0]
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"Two classes have one name: {', '.join(names)}.")
    return {name: find_images([path]) for name, path in zip(names, paths, strict=True)}


def _written(file: Path, output: Path) -> bool:
    """Whether a file is an output or lies in it, or is one of several (see `Result.save`)."""
    file, output = file.resolve(), output.resolve()
    one_of_several = output.suffix and file.parent == output.parent and file.stem.startswith(f"{output.stem}_")
    return bool(one_of_several) or output in (file, *file.parents)
