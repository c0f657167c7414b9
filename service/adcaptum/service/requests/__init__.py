"""Requests: their questions and inputs, read and checked; their keys."""
