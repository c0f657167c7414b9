"""Errors of making, trying and packing entries of a repository."""


class AuthoringError(ValueError):
    """A model, an example or a file cannot be used; the text says which and why."""
