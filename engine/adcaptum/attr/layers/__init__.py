"""Captum's layer methods."""
