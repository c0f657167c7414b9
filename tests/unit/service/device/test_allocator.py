"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest

GLIBC = platform.libc_ver()[0] == "glibc"
# How many pages a thread gets from the system that takes and gives back what batches take: tensors
# of all sizes, 48 MiB in all, ten times.
PROGRAM = """
import resource
import threading
import torch
from adcaptum.service.device.allocator import keep_freed_memory
torch.set_num_threads(1)
changed = keep_freed_memory() if {change} else False

def take(times):
    for _ in range(times):
        tensors = [torch.ones(1 << power) for power in [*range(14, 22)] * 3]
        del tensors

def measure():
    take(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    take(10)
    print(changed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def run(program: str, **environment: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()


@pytest.mark.skipif(not GLIBC, reason="needs glibc")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    changed, pages = run(PROGRAM.format(change=True))
    _, as_it_comes = run(PROGRAM.format(change=False))
    assert changed == "True"
    assert int(pages) < int(as_it_comes) / 10


@pytest.mark.skipif(not GLIBC, reason="needs glibc")
def test_who_has_set_the_allocator_up_is_left_alone() -> None:
    program = "from adcaptum.service.device import allocator; print(allocator.keep_freed_memory())"
    assert run(program, MALLOC_ARENA_MAX="2") == ["False"]
