"""Searches for inputs near an example at which a loss is large or small, as flows."""
