"""Devices: their clock, their errors, and the settings of PyTorch that all threads share."""
