"""Execution of flows: the only calls of a model and the only hooks."""
