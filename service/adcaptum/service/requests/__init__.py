"""Requests: reading, checking, and the building of replies."""
