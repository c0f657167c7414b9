"""Captum's call forms: from arguments to an explicand, and from an attribution to a result."""
