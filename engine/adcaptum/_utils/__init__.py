"""Captum's private paths, as tutorials and notebooks import them."""
