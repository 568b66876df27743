"""The paper's figures and its table, reproduced by `python -m benchmarks.paper`."""
