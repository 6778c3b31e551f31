"""The measurements behind tests/bench.py, one module per kind."""
