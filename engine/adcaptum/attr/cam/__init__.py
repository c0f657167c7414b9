"""Captum's class activation maps."""
