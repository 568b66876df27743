"""Entry of the Hugging Face Space, and of `python app.py`: build the demo and serve it."""

from pathlib import Path

import zero_gpu  # on that hardware, it must come before whatever imports torch
from transflow_core.runtime import tune

tune(server=True)  # before torch is imported

from demo import Engines, build, launch  # noqa: E402

# A prior that is put into `priors/` (see `python -m transflow_core convert`) is offered on the page.
demo = build(Engines(Path(__file__).parent / "priors", device=zero_gpu.DEVICE))

if __name__ == "__main__":
    launch(demo)
