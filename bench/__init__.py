"""Benchmarks against what users would otherwise use: `python -m bench`, or `make bench`."""
