"""The commands about the models of a server."""
