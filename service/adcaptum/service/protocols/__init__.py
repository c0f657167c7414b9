"""Protocols of other servers, translated into calls of this one's own services."""
