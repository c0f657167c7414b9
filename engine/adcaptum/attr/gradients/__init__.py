"""Captum's one-gradient methods and its noise tunnel."""
