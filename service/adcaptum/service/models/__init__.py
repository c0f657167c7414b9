"""Models: declarations, loading, checks, warm-up, the catalogue."""
