"""Captum's own measures, at its private paths."""
