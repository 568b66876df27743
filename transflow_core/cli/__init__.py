"""The command line: a command for each recipe, and a few that are none. Results go to files, words and `--json` to
standard output, progress to standard error.

Other packages bring commands of their own, each an entry point of the group `transflow.commands`; the page is one.
Nothing here imports torch or dlib before a command runs: `--help` is there at once.
"""

import io
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from ..recipes import RECIPES
from ..runtime import tune
from ..training import Train
from ..views import add_command
from . import tools
from .output import run_recipe

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Transflow Learning: bend a trained flow towards a handful of images, with no training.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print("transflow", sys.modules[__name__.partition(".")[0]].__version__)
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What all commands have."""


for plugin in entry_points(group="transflow.commands"):
    try:
        app.command(plugin.name)(plugin.load())
    except ImportError as error:
        if not plugin.value.startswith("transflow_core."):  # a checkout has no such page, but `app.py`
            print(f"warning: the command {plugin.name} cannot be loaded: {error}", file=sys.stderr)
for recipe in RECIPES.values():
    add_command(app, recipe, run_recipe)
add_command(app, Train, tools.run_training)
for command in (tools.convert, tools.export, tools.info, tools.bench):
    app.command()(command)


def main() -> None:
    """Entry point of `transflow` and of `python -m transflow_core`."""
    for stream in (sys.stdout, sys.stderr):  # a pipe of Windows has no λ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    tune()
    app()
