"""Measurements, each by one command that prints a table. Timings live here and not in the tests."""
