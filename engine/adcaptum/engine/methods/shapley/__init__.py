"""Shapley values and interactions, exact and estimated."""
