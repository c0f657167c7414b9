"""Delays by others that run are counted, and sleep is not."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from time import sleep, thread_time

import pytest

from adcaptum.service.device.run_delay import RunDelay


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="not counted here")
def test_a_thread_beside_others_on_one_core_is_delayed_and_one_that_sleeps_is_not() -> None:
    found: list[float] = []
    core = min(os.sched_getaffinity(0))
    spin = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"

    def measure() -> None:
        os.sched_setaffinity(0, {core})
        delay = RunDelay()
        begin = delay.seconds()
        sleep(0.2)
        slept = delay.seconds()
        busy = thread_time() + 0.2
        while thread_time() < busy:
            pass
        found.extend([slept - begin, delay.seconds() - slept])

    spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(3)]
    try:
        sleep(0.2)
        # The affinity is that of the thread, which ends.
        thread = Thread(target=measure)
        thread.start()
        thread.join()
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    asleep, running = found
    assert running > asleep
