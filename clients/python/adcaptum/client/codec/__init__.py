"""Pure conversion between the protocol's messages and the client's values."""
