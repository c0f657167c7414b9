"""Security: who calls, what a caller may do and how much, and encrypted connections."""
