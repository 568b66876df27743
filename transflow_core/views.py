"""What a recipe looks like elsewhere: a command, a link, the text inside a picture, Python and a shell command.

Each view is one function for all recipes, and names no parameter. The endpoint, the tool for agents and the controls of
the page are made the same way, where Gradio is.
"""

import inspect
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_origin
from urllib.parse import urlencode

import typer

from .recipes import RECIPES, Recipe, bounds, kinds, ordered, to_text

_SETS = " A folder, or an example set such as paintings, stands for its images."
_FOLDERS = {"images": _SETS, "set": _SETS, "classes": " A folder is a class of its own name."}
"""What a command says of an input: its files lie on this machine."""


def signature(
    function: Callable[..., Any],
    model: type[Recipe],
    types: Mapping[str, Any],
    more: Mapping[str, tuple[Any, str]],
    default_of: Mapping[str, Any] | None = None,
) -> None:
    """Give a function the name, the signature and the documentation of a recipe: one line for each argument.

    Args:
        types: of each input, each parameter and each of `more`; and "return".
        more: what a view adds: a default and a description of each.
        default_of: parameters, where a view writes a default in its own way.
    """
    words = {name: one.description for name, one in model.inputs.items()}
    words |= {name: str(field.description) for name, field in ordered(model).items()}
    words |= {name: description for name, (_, description) in more.items()}
    defaults = {name: field.default for name, field in ordered(model).items()} | dict(default_of or {})
    defaults |= {name: default for name, (default, _) in more.items()}
    defaults |= {name: None for name, one in model.inputs.items() if one.kind == "masks"}
    order = sorted(words, key=lambda name: name in defaults)
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    given = [inspect.Parameter(name, kind, default=defaults.get(name, empty), annotation=types[name]) for name in order]
    function.__name__, function.__annotations__ = model.title(), dict(types)
    lines = [f"    {name}: {words[name]}" for name in order]
    function.__doc__ = "\n".join([inspect.cleandoc(str(model.__doc__)), "", "Args:", *lines])
    function.__signature__ = inspect.Signature(given, return_annotation=types["return"])  # type: ignore[attr-defined]


def add_command(app: typer.Typer, model: type[Recipe], run: Callable[..., Any]) -> None:
    """A command: an argument or option for each input, an option for each parameter.

    Two sets of files are one path each; any other number of files are arguments, or an option that is given again and
    again (see `Input`).

    Args:
        run: called with the recipe, the paths of each input, and `output`, `device`, `strict`, `as_json`.
    """

    def command(**values: Any) -> None:
        inputs = {name: values.pop(name) for name in model.inputs}
        rest = {name: values.pop(name) for name in more}
        run(model, {name: value for name, value in values.items() if value is not None}, inputs, **rest)

    types: dict[str, Any] = {"return": None}
    defaults: dict[str, Any] = {}
    pair = sum(one.kind == "set" for one in model.inputs.values()) == 2
    for name, one in model.inputs.items():
        paths: Any = Path if pair or one.kind == "archive" else list[Path]
        paths = paths | None if one.kind == "masks" else paths
        shown = {"help": one.description + _FOLDERS.get(one.kind, ""), "show_default": False}
        types[name] = Annotated[paths, typer.Option(one.flag, **shown) if one.flag else typer.Argument(**shown)]
    for name, field in ordered(model).items():
        found = kinds(field)
        text = len(found) > 1 or get_origin(found[0]) is tuple  # a list is written 0.1,0.5
        kind = str if text else found[0]
        low, high = (None, None) if text else bounds(field)
        default: Any = to_text(field.default) if text and field.default is not None else field.default
        flags = [f"-{name}", f"--{name}"] if len(name) == 1 else []
        option = typer.Option(*flags, help=field.description, min=low, max=high, show_default=default is not None)
        types[name] = Annotated[kind | None if default is None else kind, option]
        defaults[name] = default
    more: dict[str, tuple[Any, str]] = {
        "output": (
            Path(model.output) if model.output else None,
            "Where the result goes." + " A folder takes every image by itself." * ("png" in model.formats),
        ),
        "device": ("auto", "auto, cpu, cuda, openvino, …"),
        "strict": (False, "Write nothing, and end with 1, unless every file can be used."),
        "as_json": (False, "Print the facts as JSON."),
    }
    types["output"] = Annotated[Path | None, typer.Option("-o", "--output", help=more["output"][1])]
    types["device"] = Annotated[str, typer.Option(help=more["device"][1])]
    types["strict"] = Annotated[bool, typer.Option("--strict", help=more["strict"][1])]
    types["as_json"] = Annotated[bool, typer.Option("--json", help=more["as_json"][1])]
    signature(command, model, types, more, defaults)
    app.command(model.title(), help=inspect.cleandoc(str(model.__doc__)))(command)


def to_link(recipe: Recipe) -> str:
    """What was asked for: what differs from the defaults, as the query of an address. `from_texts` reads its values."""
    return urlencode({name: to_text(value) for name, value in recipe.changed().items()}, safe="/:,")


def to_metadata(recipe: Recipe) -> dict[str, str]:
    """What was done, inside a picture or a posterior: every value, so that a changed default changes no saved sheet."""
    made_by = {"DigitalSourceType": recipe.source} if recipe.source else {}
    return {"recipe": recipe.title(), **recipe.texts(), **made_by}


def from_metadata(texts: Mapping[str, str]) -> Recipe:
    """Back from `to_metadata`, and from pictures of earlier versions. Raises ValueError in one sentence."""
    name = texts.get("recipe") or texts.get("command", "")
    if name not in RECIPES:
        raise ValueError("The file does not say how it was made.")
    return RECIPES[name].from_texts(texts)


def to_python(recipe: Recipe) -> str:
    """A line of Python: `Sample(n=4, seed=3)`."""
    values = (f"{name}={_code(value)}" for name, value in recipe.changed().items())
    return f"{type(recipe).__name__}({', '.join(values)})"


def to_shell(recipe: Recipe, inputs: Sequence[str], output: str = "") -> str:
    """A shell command; `inputs` are words of it, with their flags."""
    words = ["transflow", recipe.title(), *inputs]
    for name, value in recipe.changed().items():
        flag = f"-{name}" if len(name) == 1 else f"--{'no-' * (value is False)}{name.replace('_', '-')}"
        words += [flag] if isinstance(value, bool) else [flag, to_text(value)]
    return shlex.join([*words, *(["-o", output] if output else [])])


def _code(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_code, value))}{',' if len(value) == 1 else ''})"
    return 'float("inf")' if value == math.inf else repr(value).removesuffix(".0") if value is not None else "None"
