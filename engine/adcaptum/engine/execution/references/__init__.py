"""Reference rows of a batch, and a cache of a model's values at reference rows."""
