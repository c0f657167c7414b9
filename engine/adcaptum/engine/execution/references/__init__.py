"""Reference rows of a batch, and a cache of what a model makes of them."""
