"""What is so for every test."""

import os

# Threads of PyTorch that spin while they wait take the cores from servers and other tests. OpenMP
# reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
