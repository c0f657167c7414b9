"""LRP's rules on operations."""
