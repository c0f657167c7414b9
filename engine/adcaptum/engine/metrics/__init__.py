"""Measures of attributions, as flows of the evaluations that they need."""
