"""The models of a server, their states and their aliases."""
