"""The HTTP API: an endpoint for each recipe, for `gradio_client` and plain HTTP. The page's own events stay private."""

# Gradio reads an endpoint's return types from its signature, as objects: no `from __future__ import annotations` here.
import functools
import inspect
import mimetypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from transflow_core import limits
from transflow_core.recipes import DEFAULT_PRIOR, RECIPES, Reading, Recipe, ordered
from transflow_core.runtime.worker import Cancelled, as_client
from transflow_core.views import signature

from ..gradio_compat import current_call, upload_folder
from .admission import CALLS
from .errors import refusing
from .files import in_use
from .middleware import caller_of
from .priors import Engines
from .sources import file_of
from .state import new_folder

__all__ = ["ENDPOINTS", "SERVED", "add_endpoints", "endpoints"]

Files = list[gr.FileData]

SERVED: dict[str, type[Recipe]] = RECIPES | {
    "sample": RECIPES["sample"].limited(most=limits.MOST_DECODED, n=limits.MOST_DECODED),
    "sweep": RECIPES["sweep"].limited(most=limits.MOST_DECODED),
    "interpolate": RECIPES["interpolate"].limited(most=limits.MOST_DECODED, steps=limits.STEPS.high),
    "restyle": RECIPES["restyle"].limited(most=limits.MOST_DECODED),
}
"""The recipes with the limits of this server: one call must not occupy it for minutes."""
_MOST_FILES = {"photographs": limits.MOST_PHOTOGRAPHS}
_FORMAT = "The file format of the result; images is one file for each."

ENDPOINTS = ("info", *SERVED)
"""Names of the endpoints, without the slash."""


def add_endpoints(engines: Engines, demo: gr.Blocks, models: Mapping[str, type[Recipe]] = SERVED) -> None:
    """Serve every endpoint from the current Blocks.

    A call waits for its caller's other calls alone, never in a queue of the page (`queues.API`). The computing is
    shared out between the requests of all visitors and callers.
    """
    for name, function in endpoints(engines, models).items():
        described = inspect.getdoc(function)
        added = gr.api(_call_of(function), api_name=name, api_description=described, concurrency_limit=None)
        model = models.get(name)
        if model is None:
            continue
        schemas = model.model_json_schema()["properties"]
        names = list(inspect.signature(function).parameters)
        for parameter, component in zip(names, demo.fns[added["id"]].inputs, strict=True):
            if parameter in schemas:  # the model has more than a type: bounds, choices, a description
                field = model.model_fields[parameter]
                schema = {key: value for key, value in schemas[parameter].items() if key not in ("title", "only")}
                info = component.api_info()  # type: ignore[attr-defined]
                info.clear()
                info.update(schema, additional_description=field.description)


def endpoints(engines: Engines, models: Mapping[str, type[Recipe]] = SERVED) -> dict[str, Callable[..., Any]]:
    """The function of each endpoint, by its name. Each also takes `cancel`, which makes it raise Cancelled."""
    return {"info": _info(engines)} | {name: _endpoint(engines, model) for name, model in models.items()}


def _info(engines: Engines) -> Callable[..., Any]:
    def info(prior: str = DEFAULT_PRIOR, **_: Any) -> dict:
        """Describe a model.

        Args:
            prior: a name of `offered`, or hf://owner/repo/file where the host allows it.

        Returns:
            name, fingerprint, image_size (pixels), channels, dim (D), levels (name, shape (C, H, W), dim; fine to
            coarse), parameters, bits, device, and `offered`, the names of the models on this server.
        """
        return engines.get(prior).prior.info() | {"offered": engines.names()}

    full = inspect.signature(info)
    info.__signature__ = full.replace(parameters=[full.parameters["prior"]])  # type: ignore[attr-defined]
    return info


def _endpoint(engines: Engines, model: type[Recipe]) -> Callable[..., Any]:
    """The function of a recipe: it takes files and parameters, and returns files and the facts about them."""

    def endpoint(*args: Any, **named: Any) -> tuple[Files, dict]:
        cancel = named.pop("cancel", None)
        values = inspect.signature(endpoint).bind(*args, **named).arguments
        form = values.pop("format", model.formats[0])
        if form not in model.formats:
            raise ValueError(f"format is {form!r}; choose {', '.join(model.formats)}.")
        inputs = {name: values.pop(name, None) for name in model.inputs}
        recipe = model.checked(values).written_as(form)
        assert isinstance(recipe, Reading)  # every recipe reads images
        engine = engines.get(recipe.prior)
        result = engine.run(recipe, cancel=cancel, **_inputs(model, inputs))
        folder = new_folder()
        name = model.title() if form == "images" else f"{Path(model.output).stem or model.title()}.{form}"
        return [_file(path) for path in result.save(folder / name)], result.facts

    kinds = {"masks": Files | None, "classes": dict[str, Files]}
    types: dict[str, Any] = {name: kinds.get(one.kind, Files) for name, one in model.inputs.items()}
    types |= {name: field.annotation for name, field in ordered(model).items()} | {"return": tuple[Files, dict]}
    more: dict[str, tuple[Any, str]] = {}
    if len(model.formats) > 1:
        more["format"], types["format"] = (model.formats[0], _FORMAT), Literal[model.formats]
    signature(endpoint, model, types, more)
    return endpoint


def _inputs(model: type[Recipe], files: dict[str, Any]) -> dict[str, Any]:
    """Uploaded files of each input, as paths. Raises ValueError for none, too many, and anything else."""
    found: dict[str, Any] = {}
    total = 0
    for name, one in model.inputs.items():
        value = files[name]
        if one.kind == "classes":
            found[name] = _classes(value, name)
            total += sum(map(len, found[name].values()))
        elif one.kind != "masks" or value is not None:
            found[name] = _uploaded(value, name, _MOST_FILES.get(name, limits.MOST_IMAGES))
            total += len(found[name])
    if total > limits.MOST_CLASSIFIED:
        raise ValueError(f"at most {limits.MOST_CLASSIFIED} images in one call, not {total}")
    return found


def _classes(value: Any, name: str) -> dict[str, list[Path]]:
    if not isinstance(value, dict) or len(value) not in limits.CLASSES_OF_CALL:
        raise ValueError(f"{name} takes {limits.CLASSES_OF_CALL} classes, each a name with its images")
    return {limits.class_name(key): _uploaded(files, f"{name} of {key!r}") for key, files in value.items()}


def _call_of(function: Callable) -> Callable:
    """A function as Gradio calls it: file objects as the plain dicts that it sends, refusals as one sentence."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        scope, session, event = current_call()
        queued = CALLS.enter(caller_of(scope) if scope else "", event, session)
        try:
            with refusing(markup=False), in_use(_uploads_in(args, kwargs)), queued as cancel, as_client(session):
                return _plain(function(*args, **(kwargs | {"cancel": cancel})))
        except Cancelled as error:  # the caller has disconnected: nobody reads this, and it is no fault to be printed
            raise gr.Error("The call was cancelled.", print_exception=False) from error

    return call


def _uploads_in(*values: Any) -> list[Path]:
    """Paths of all uploaded files among the arguments of a call, at any depth. Nothing is refused here."""
    found, remaining = [], list(values)
    while remaining:
        value = remaining.pop()
        if isinstance(value, gr.FileData):
            value = {"path": value.path}
        if (file := _upload_of(value)) is not None:
            found.append(file)
        remaining += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return found


def _upload_of(value: Any) -> Path | None:
    """The path of a file {"path": …}, if it lies among the uploads. It need not exist."""
    name = value.get("path") if isinstance(value, dict) else None
    if not isinstance(name, str) or "\0" in name:
        return None
    path = Path(name).resolve()
    return path if Path(upload_folder()).resolve() in path.parents else None


def _plain(value: Any) -> Any:
    if isinstance(value, gr.FileData):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    return value


def _uploaded(files: Any, name: str, most: int = limits.MOST_IMAGES) -> list[Path]:
    """Paths of files that a client uploaded, or sent as text. Raises ValueError for none, too many, and anything else.

    Gradio moves only values that are marked as files, and checks their folders only after its launch. It has not
    checked these values, so they are checked here.
    """
    if not isinstance(files, list) or not files:
        raise ValueError(f"{name}: send a list of at least one file (gradio_client.handle_file)")
    if len(files) > most:
        raise ValueError(f"{name}: at most {most} files in one call, not {len(files)}")
    paths = []
    for file in files:
        path = _upload_of({"path": str(_named(file, name))} if isinstance(file, str) else file)
        if path is None or not path.is_file():
            raise ValueError(f"{name}: only uploaded files are read (gradio_client.handle_file uploads one)")
        paths.append(path)
    return paths


def _named(address: str, name: str) -> Path:
    try:
        return file_of(address)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _file(path: Path) -> gr.FileData:
    kind = mimetypes.guess_type(path.name)[0]
    return gr.FileData(path=str(path), orig_name=path.name, size=path.stat().st_size, mime_type=kind)
