"""Entry of the Hugging Face Space, and of `python app.py`: build the demo and serve it."""

import sys
from pathlib import Path

import typer

import zero_gpu  # on that hardware, it must come before whatever imports torch
from transflow_core.runtime import tune

tune(server=True)  # before torch is imported

from demo import Engines, build, launch  # noqa: E402

if __name__ == "__main__" and sys.argv[1:]:  # such as --help or --port: the options of `transflow app`
    from demo.command import app

    sys.exit(typer.run(app))

# A prior that is put into `priors/` (see `python -m transflow_core convert`) is offered on the page.
demo = build(Engines(Path(__file__).parent / "priors", device=zero_gpu.DEVICE))

if __name__ == "__main__":
    launch(demo)
