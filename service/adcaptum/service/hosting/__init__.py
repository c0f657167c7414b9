"""Hosting: models brought into memory and out of it, by one process."""
