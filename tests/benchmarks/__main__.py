"""Runs the benchmarks: `python -m tests.benchmarks [section ...]`."""

from __future__ import annotations

import os

# Before torch is imported: idle threads that spin would slow everything down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from tests.benchmarks.command import main

main()
