"""The endpoints as tools of agents, by the Model Context Protocol: what Gradio's server of it leaves out."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import gradio.mcp
from gradio_client.utils import is_file_obj_with_meta

__all__ = ["Tools", "serve_tools"]


class Tools(gradio.mcp.GradioMCPServer):
    """Gradio's server; every picture of an answer is shown, and every fact is JSON.

    Gradio 6.31 shows an agent a picture where a file is all that an endpoint gives. Of several outputs, and of a list
    of files, it writes Python's words for them.
    """

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """What an agent reads: pictures and files one by one, each with its address, and then the facts."""
        outputs = data[0] if len(data) == 1 and isinstance(data[0], list | tuple) else data
        return super().postprocess_output_data([part for output in outputs for part in _parts(output)], root_url)


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
