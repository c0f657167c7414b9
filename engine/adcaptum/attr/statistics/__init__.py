"""Captum's streaming statistics of attributions."""
