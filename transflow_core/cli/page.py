"""The verb `app`: the page."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from . import options

__all__ = ["app"]


def app(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="[default: the first free one from 7860 on]")
    ] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    priors: Annotated[Path, typer.Option(help="A folder whose .safetensors files are offered.")] = Path("priors"),
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    device: options.Device = "auto",
    hub: Annotated[
        str | None,
        typer.Option(
            envvar="TRANSFLOW_HUB",
            help="Whether visitors may give hf:// addresses: off, on, or owner/repo patterns with commas. "
            "[default: on for this machine alone, off where others are let in]",
        ),
    ] = None,
) -> None:
    """Start the page, as `python app.py` does in a checkout."""
    # Installed, the page lies inside the package; in a checkout beside it.
    name = next((name for name in ("transflow_core.demo", "demo") if find_spec(name)), None)
    if name is None:
        print("error: the page is not installed here; run this in a checkout, or install the wheel", file=sys.stderr)
        raise typer.Exit(1)
    page = import_module(name)
    hub = hub or ("on" if host in ("127.0.0.1", "localhost", "::1") else "off")
    demo = page.build(page.Engines(priors, device, hub=hub))
    page.launch(demo, server_name=host, server_port=port, inbrowser=browser)
