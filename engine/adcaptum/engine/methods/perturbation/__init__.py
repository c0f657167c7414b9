"""Methods that replace features and compare outputs."""
