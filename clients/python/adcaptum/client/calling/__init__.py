"""Calls of a server: their sequence, what they need to know of the model, and what is kept."""
