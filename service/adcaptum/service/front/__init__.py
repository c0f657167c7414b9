"""The front: one address before several worker processes."""
