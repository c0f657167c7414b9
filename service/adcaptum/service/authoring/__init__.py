"""Making, trying and packing entries of a repository, and serving from a program."""
