"""Frames: small requests and their answers on a Unix socket between a front and a worker."""
