"""Layer-wise relevance propagation: its rules on operations."""
