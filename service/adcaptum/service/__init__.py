"""The service: one server, one port, one set of loaded weights for predictions and explanations."""
