"""Measurements, each by one command that prints a table. Timings live here and not in the tests."""

from transflow_core.runtime import tune

tune()  # each module is a program; what they import brings torch
