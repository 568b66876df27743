"""The command line: one thin function a verb. Results go to files, words and `--json` to standard output, progress to
standard error.

Nothing here imports torch, dlib or the page before a verb runs: `--help` is there at once.
"""

import typer

from . import bench, classify, condition, evidence, mix, page, priors, restyle, sampling, train

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Transflow Learning: bend a trained flow towards a handful of images, with no training.",
)

for verb in (
    page.app,
    sampling.sample,
    sampling.sweep,
    sampling.interpolate,
    restyle.restyle,
    mix.mix,
    condition.condition,
    evidence.align,
    evidence.encode,
    classify.classify,
    priors.convert,
    priors.info,
    bench.bench,
    train.train,
):
    app.command()(verb)


def main() -> None:
    """Entry point of `transflow` and of `python -m transflow_core`."""
    app()
