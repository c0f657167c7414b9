"""The protocol as messages of gRPC."""
