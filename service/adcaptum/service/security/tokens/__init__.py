"""Tokens of an issuer, and its public keys."""
