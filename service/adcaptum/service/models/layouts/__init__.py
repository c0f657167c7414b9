"""Faster variants of a model, and the trials that choose among them."""
