"""Comparison of attribution methods by measures of their attributions."""
