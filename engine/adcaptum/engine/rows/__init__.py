"""Rows: lazy sources, streaming reductions, and randomness addressed by row."""
