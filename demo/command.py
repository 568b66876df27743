"""The command `transflow app`: the page, as pyproject.toml brings it to the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transflow_core.runtime import tune


def app(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="[default: the first free one from 7860 on]")
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 accepts other machines.")] = "127.0.0.1",
    priors: Annotated[Path, typer.Option(help="A folder of .safetensors files to offer as models.")] = Path("priors"),
    browser: Annotated[bool, typer.Option("--open/--no-open", "--browser/--no-browser", help="Open a browser.")] = True,
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "openvino", …')] = "auto",
    hub: Annotated[
        str | None,
        typer.Option(
            envvar="TRANSFLOW_HUB",
            help="Whether visitors may load hf:// addresses: off, on, or owner/repo patterns with commas. "
            "[default: on where it listens to this machine alone, else off; behind a proxy give off]",
        ),
    ] = None,
) -> None:
    """Start the page, as `python app.py` does in a checkout."""
    tune(server=True)
    from . import Engines, build, launch  # imported here, so that `--help` waits for neither torch nor Gradio

    hub = hub or ("on" if host in ("127.0.0.1", "localhost", "::1") else "off")
    try:
        launch(build(Engines(priors, device, hub=hub)), server_name=host, server_port=port, inbrowser=browser)
    except (ValueError, OSError) as error:  # no such device; a port that is taken
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
