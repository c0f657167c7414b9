"""Captum's DeepLift and LRP."""
