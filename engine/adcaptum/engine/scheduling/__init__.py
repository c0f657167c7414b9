"""Scheduling of rows: queues, requests, batches, deadlines; no torch, clock or thread."""
