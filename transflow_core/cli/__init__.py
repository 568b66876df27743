"""The command line: a command for each recipe, and a few that are none. Results go to files, words and `--json` to
standard output, progress to standard error.

Nothing here imports torch, dlib or the page before a command runs: `--help` is there at once.
"""

import typer

from ..recipes import RECIPES
from ..views import add_command
from . import bench, page, priors, sets, train
from .operations import run_recipe

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Transflow Learning: bend a trained flow towards a handful of images, with no training.",
)

app.command()(page.app)
for recipe in RECIPES.values():
    add_command(app, recipe, run_recipe)
for command in (sets.condition_set, priors.convert, priors.info, bench.bench, train.train):
    app.command()(command)


def main() -> None:
    """Entry point of `transflow` and of `python -m transflow_core`."""
    app()
