"""Methods that take one gradient of each row."""
