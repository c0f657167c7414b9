"""Calls of the services from inside their process."""
