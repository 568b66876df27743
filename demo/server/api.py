"""The HTTP API: an endpoint for each recipe, for `gradio_client` and plain HTTP; the same are tools of agents (MCP).

The page's own events stay private.
"""

# Gradio reads an endpoint's return types from its signature, as objects: no `from __future__ import annotations` here.
import functools
import inspect
import json
import logging
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from transflow_core import limits
from transflow_core.recipes import DEFAULT_PRIOR, RECIPES, Reading, Recipe, ordered
from transflow_core.runtime.worker import Cancelled
from transflow_core.views import signature

from .. import gradio_compat
from .admission import AGENT, API, RESTARTS, RESULTS, in_thread
from .errors import refusing
from .files import new_folder
from .priors import Engines
from .uploads import uploaded

_log = logging.getLogger(__name__)
_INSTRUCTIONS = """Draw new images that resemble a few given ones; nothing is trained.
Start with `info`, which names the models. Give pictures as data:image/png;base64,… or as addresses of earlier results.
`sample` draws new images of a set, `restyle` gives photographs its style, and `classify` tells sets apart.
`condition` saves a set as a file that every tool takes as images. The file contains the images.
"""

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


def add_endpoints(engines: Engines, demo: gr.Blocks, models: Mapping[str, type[Recipe]] = SERVED) -> None:
    """Serve every endpoint from the current Blocks.

    A call waits for its caller's other calls alone, never in a queue of the page (`admission.API`). The computing is
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
    def info(prior: str = DEFAULT_PRIOR, cancel: Any = None) -> dict:
        """Describe a model.

        Args:
            prior: a name of `offered`, or hf://owner/repo/file where the host allows it.

        Returns:
            name, fingerprint, image_size (pixels), channels, dim (D), levels (name, shape (C, H, W), dim; fine to
            coarse), parameters, bits, device, and `offered`, the names of the models on this server.
        """
        return engines.get(prior).prior.info() | {"offered": engines.names()}

    return info


def _endpoint(engines: Engines, model: type[Recipe]) -> Callable[..., Any]:
    """The function of a recipe: it takes files and parameters, and returns files and the facts about them."""

    def endpoint(*args: Any, **named: Any) -> tuple[list[dict[str, Any]], dict]:
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
            if not isinstance(value, dict) or len(value) not in limits.CLASSES_OF_CALL:
                raise ValueError(f"{name} takes {limits.CLASSES_OF_CALL} classes, each a name with its images")
            classes = {limits.class_name(key): uploaded(some, f"{name} of {key!r}") for key, some in value.items()}
            found[name], total = classes, total + sum(map(len, classes.values()))
        elif one.kind != "masks" or value is not None:
            found[name] = uploaded(value, name, _MOST_FILES.get(name, limits.MOST_IMAGES))
            total += len(found[name])
    if total > limits.MOST_CLASSIFIED:
        raise ValueError(f"at most {limits.MOST_CLASSIFIED} images in one call, not {total}")
    return found


def _call_of(function: Callable) -> Callable:
    """A function as Gradio calls it, with its caller before the arguments; refusals are one sentence."""

    async def call(request: gr.Request, *args: Any, **kwargs: Any) -> Any:
        event, agent = gradio_compat.current_event(), request.headers.get(AGENT, "")
        names = ("session", request.session_hash), ("event", event), ("agent", agent)
        try:
            if agent and not API.heard(("agent", agent)):
                raise Cancelled  # it hung up before
            with refusing(markup=False), await API.request(request.client.host, *names).admitted() as cancel:
                host = request.client.host
                if RESULTS.wait(host, 0) is None:
                    raise ValueError("You were sent too many files, 2 GB an hour. Try again later.")
                work = functools.partial(function, *args, **kwargs, cancel=cancel)
                answer = await in_thread((host, request.session_hash), work)
                files = answer[0] if isinstance(answer, tuple) else ()  # they lie on the disk as uploads do
                RESULTS.wait(host, sum(one["size"] for one in files), done=True)
                return answer
        except Cancelled as error:  # most often the caller has disconnected: this is no fault to be printed
            late = f"The call was cancelled. A call may take {API.seconds:g} seconds: request less."
            raise gr.Error(RESTARTS if API.closed else late, print_exception=False) from error

    of, caller = inspect.signature(function), inspect.signature(call).parameters["request"]
    functools.update_wrapper(call, function)
    given = [one for name, one in of.parameters.items() if name != "cancel"]
    call.__signature__ = of.replace(parameters=[caller, *given])  # type: ignore[attr-defined]
    call.__annotations__ = {"request": gr.Request, **function.__annotations__}
    return call


def _file(path: Path) -> dict[str, Any]:
    kind = mimetypes.guess_type(path.name)[0]
    return gr.FileData(path=str(path), orig_name=path.name, size=path.stat().st_size, mime_type=kind).model_dump()


# Tools of agents ------------------------------------------------------------------------------------------------------


def serve_tools() -> bool:
    """Whether the endpoints are tools of agents too, for `gr.Blocks.launch`: where the package `mcp` is installed.

    Of another version than Gradio's it warns.
    """
    try:
        found = version("mcp")
    except PackageNotFoundError:
        return False
    if not found.startswith("1."):
        _log.warning('mcp %s is installed. Tools for agents need mcp 1: pip install "transflow-studio[mcp]"', found)
        return False
    gradio_compat.serve_tools(_schema, _parts, _INSTRUCTIONS)
    return True


def _schema(schema: Any) -> Any:
    """A file is text, which the endpoints read themselves (`uploads`)."""
    if isinstance(schema, dict):
        text = {"format": "a picture in base64: data:image/png;base64,…"}
        file = isinstance(schema.get("format"), str)
        return {key: _schema(value) for key, value in schema.items()} | (text if file else {})
    return [_schema(value) for value in schema] if isinstance(schema, list) else schema


def _parts(output: Any) -> Sequence[Any]:
    """Pictures and files one by one, so that Gradio shows each with its address; facts as JSON, not as Python."""
    if isinstance(output, list) and output and all(map(_is_file, output)):
        return output
    return [output if _is_file(output) else json.dumps(output, ensure_ascii=False)]


def _is_file(output: Any) -> bool:
    """As Gradio marks the files of an answer."""
    return isinstance(output, dict) and output.get("meta") == {"_type": "gradio.FileData"}
