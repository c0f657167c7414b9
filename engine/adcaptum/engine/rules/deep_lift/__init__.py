"""DeepLIFT's rules on operations."""
