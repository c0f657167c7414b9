"""The life cycle of models: what may be loaded, unloaded and aliased, whoever does it."""
