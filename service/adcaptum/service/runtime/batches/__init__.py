"""Batches: their evaluation, their metrics, and the search for equal rows."""
