"""OpenAI's Glow: its variables by name, its frozen graph read without TensorFlow, and the graph run as it is."""

from .graphdef import Graph, read_graph
from .openai import OPENAI
from .running import check_against_graph, run_graph, tensorflow_is_installed
from .structure import graph_settings, graph_tensors, named_tensors

__all__ = [
    "OPENAI",
    "Graph",
    "check_against_graph",
    "graph_settings",
    "graph_tensors",
    "named_tensors",
    "read_graph",
    "run_graph",
    "tensorflow_is_installed",
]
