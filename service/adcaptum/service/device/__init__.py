"""Devices: streams, batch memory, busy time, the allocator."""
