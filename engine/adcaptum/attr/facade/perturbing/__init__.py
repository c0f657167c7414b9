"""Perturbation methods: forwards that answer row by row or for a batch, inputs of any length."""
