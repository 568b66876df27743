"""The endpoints as tools of agents, by the Model Context Protocol: their arguments, and their results."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from .. import gradio_compat
from .middleware import caller_of

__all__ = ["serve_tools"]


def _schema(schema: Any) -> Any:
    """A file is text, which the endpoints read themselves (`sources.file_of`)."""
    if isinstance(schema, dict):
        format_ = (
            {"format": "a picture in base64: data:image/png;base64,…"} if isinstance(schema.get("format"), str) else {}
        )
        return {key: _schema(value) for key, value in schema.items()} | format_
    return [_schema(value) for value in schema] if isinstance(schema, list) else schema


def _parts(output: Any) -> Sequence[Any]:
    """Pictures and files one by one, so that Gradio shows each with its address; facts as JSON, not as Python."""
    if _is_file(output):
        return [output]
    if isinstance(output, list) and output and all(map(_is_file, output)):
        return output
    return [json.dumps(output, ensure_ascii=False)]


def _is_file(output: Any) -> bool:
    """As Gradio marks the files of an answer."""
    return isinstance(output, dict) and output.get("meta") == {"_type": "gradio.FileData"}


def serve_tools() -> bool:
    """Whether tools are served, for `gr.Blocks.launch`: where the package `mcp` is installed."""
    found = find_spec("mcp") is not None
    if found:
        gradio_compat.serve_tools(_schema, _parts, caller_of)
    return found
