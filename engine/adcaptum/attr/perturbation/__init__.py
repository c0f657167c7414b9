"""Captum's perturbation methods."""
