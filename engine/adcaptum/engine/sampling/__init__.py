"""Sampling in replicates, with pooled errors, to a tolerance."""
