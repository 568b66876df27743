"""The command line: a command for each recipe, and a few that are none. Results go to files, words and `--json` to
standard output, progress to standard error.

Other packages bring commands of their own, each an entry point of the group `transflow.commands`; the page is one.
Nothing here imports torch or dlib before a command runs: `--help` is there at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import typer

from ..recipes import RECIPES
from ..runtime import tune
from ..training import Train
from ..views import add_command
from . import tools
from .output import run_recipe
from .train import run_training

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Transflow Learning: bend a trained flow towards a handful of images, with no training.",
)

_GROUP = "transflow.commands"


def _plugins() -> Iterable[EntryPoint]:
    """Commands of other packages, by what pip noted. In a checkout also by what pip would note if it were installed."""
    project, lines = Path(__file__).parents[2] / "pyproject.toml", []
    if project.is_file():  # read by a pattern: Python 3.10 has no parser of TOML
        table = re.search(rf'^\[project\.entry-points\."{_GROUP}"\]\n((?:\w.*\n)*)', project.read_text("utf-8"), re.M)
        lines = re.findall(r'^([\w-]+) = "(.+?)"', table[1], re.M) if table else []
    ours = [EntryPoint(name, value, _GROUP) for name, value in lines]
    return {plugin.name: plugin for plugin in [*ours, *entry_points(group=_GROUP)]}.values()


def _function(plugin: EntryPoint) -> Callable:
    """What a command runs. A package that setup.py puts inside this one lies beside it in a checkout."""
    try:
        return plugin.load()
    except ModuleNotFoundError:
        beside = plugin.value.removeprefix(f"{__name__.partition('.')[0]}.")
        return EntryPoint(plugin.name, beside, _GROUP).load()


for plugin in _plugins():
    try:
        app.command(plugin.name)(_function(plugin))
    except ImportError as error:
        print(f"warning: the command {plugin.name} cannot be loaded: {error}", file=sys.stderr)

for recipe in RECIPES.values():
    add_command(app, recipe, run_recipe)
add_command(app, Train, run_training)
for command in (tools.condition_set, tools.convert, tools.info, tools.bench):
    app.command()(command)


def main() -> None:
    """Entry point of `transflow` and of `python -m transflow_core`."""
    tune()
    app()
