"""Captum's path methods."""
