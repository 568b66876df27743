"""The endpoints as tools of agents, by the Model Context Protocol: what Gradio's server of it leaves out."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import gradio.mcp
from gradio_client.utils import is_file_obj_with_meta

from .guard import caller_of

__all__ = ["Tools", "serve_tools"]


class Tools(gradio.mcp.GradioMCPServer):
    """Gradio's server; files go in as base64, every picture of an answer is shown, and every fact is JSON.

    Gradio 6.31 looks for the files of a list in the wrong place, and would fetch them from any address. It shows a
    picture where a file is all that an endpoint gives; for several outputs, and for a list of files, it writes
    Python's words.
    """

    def simplify_filedata_schema(self, schema: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
        """A file is text, which the endpoints read themselves (`given.file_of`): none is left for Gradio to fetch."""
        simple, _ = super().simplify_filedata_schema(schema)
        return _worded(simple), []

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        """Gradio calls its own endpoint with the caller's headers: no stranger says there whom a call comes from."""
        endpoint, given, headers, block = super()._prepare_tool_call_args(name, arguments)
        request = self.mcp_server.request_context.request
        if request is not None:
            headers["x-forwarded-for"] = caller_of(request.scope)
        return endpoint, given, headers, block

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """What an agent reads: pictures and files one by one, each with its address, and then the facts."""
        outputs = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
        return super().postprocess_output_data([part for output in outputs for part in _parts(output)], root_url)


def _worded(schema: Any) -> Any:
    if isinstance(schema, dict):
        words = (
            {"format": "a picture in base64: data:image/png;base64,…"} if isinstance(schema.get("format"), str) else {}
        )
        return {key: _worded(value) for key, value in schema.items()} | words
    return [_worded(value) for value in schema] if isinstance(schema, list) else schema


def _parts(output: Any) -> Sequence[Any]:
    if is_file_obj_with_meta(output):
        return [output]
    if isinstance(output, list) and output and all(map(is_file_obj_with_meta, output)):
        return output
    return [json.dumps(output, ensure_ascii=False)]


def serve_tools() -> bool:
    """Whether tools are served, as `gr.Blocks.launch` asks: where the package `mcp` is installed."""
    found = find_spec("mcp") is not None
    if found:
        gradio.mcp.GradioMCPServer = Tools  # launch takes whatever has this name
    return found
