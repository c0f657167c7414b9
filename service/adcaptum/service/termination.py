"""Termination: the end of the process, whatever its threads do.

Rules:
1. A thread of this module reads SIGTERM, SIGINT and SIGHUP from a pipe: while a model holds up
   the event loop, the loop handles no signal.
2. From the first signal, or from `begin`, the process has a limited time. Then a timer
   logs where each thread is, and ends the process.
3. If an extension holds Python's lock, so that no thread can log, a timer of
   `faulthandler`, which needs no lock, ends the process.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Protocol

from adcaptum.service import logs

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

FRAMES: Final = 4
"""The frames of a thread that the log shows, innermost last."""

LOG_SECONDS: Final = 0.5
"""The time for the last line of the log."""


EXECUTOR_SECONDS: Final = 0.5
"""The time for the threads of the event loop's executor to end."""


class Ending(Protocol):
    """The end of a server, from a signal or from the server itself."""

    def install(self) -> None:
        """Handles signals from now on."""

    def begin(self) -> None:
        """Begins the end, if it has not begun; callable from any thread."""


class Departure:
    """The end of a server that is a guest in its process: the process and its signals stay."""

    def __init__(self, begun: Callable[[], None]) -> None:
        """Prepares the end.

        Args:
            begun: Called when it begins.
        """
        self._begun = begun
        self._lock = threading.Lock()
        self._begins = False

    def install(self) -> None:
        """Handles no signal: they are the process's."""

    def begin(self) -> None:
        """Begins the end, if it has not begun; callable from any thread."""
        with self._lock:
            if self._begins:
                return
            self._begins = True
        self._begun()


class Termination:
    """The end of the process after a limited time."""

    def __init__(self, seconds: float, begun: Callable[[], None]) -> None:
        """Prepares the termination.

        Args:
            seconds: The time that the process has from the first signal.
            begun: Called at the first signal, in a thread of its own.
        """
        self._seconds = seconds
        self._begun = begun
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def install(self) -> None:
        """Handles signals from now on. To be called in the main thread, in a running event loop.

        A loop such as uvloop's directs signals to itself when it starts.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for number in SIGNALS:
            # nohup has a process ignore SIGHUP.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _ignore)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=_restore)
        thread = threading.Thread(target=self._read, args=(reader,), name="signals", daemon=True)
        thread.start()

    def begin(self) -> None:
        """Begins the limited time, if it has not begun; callable from any thread."""
        with self._lock:
            if self._timer is not None:
                return
            self._timer = threading.Timer(self._seconds, self._force)
            self._timer.daemon = True
            self._timer.start()
            # Later than the timer, for the case that the timer's thread gets no turn.
            faulthandler.dump_traceback_later(self._seconds + LOG_SECONDS, exit=True)
        self._begun()

    def _read(self, reader: int) -> None:
        while received := os.read(reader, 64):
            if any(number in received for number in SIGNALS):
                self.begin()

    def _force(self) -> None:
        logs.logger().error("stopped by force", threads=thread_places())
        sys.stderr.flush()
        os._exit(1)


def thread_places() -> dict[str, list[str]]:
    """Returns where each thread of the process is, by its name."""
    frames = sys._current_frames()  # noqa: SLF001  # there is no other way to see them
    found = {}
    for thread in threading.enumerate():
        frame, places = frames.get(thread.ident or 0), list[str]()
        while frame is not None and len(places) < FRAMES:
            code = frame.f_code
            places.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
            frame = frame.f_back
        found[thread.name] = places[::-1]
    return found


def _restore() -> None:
    """Resets the signals of a forked process, so that they do not end this one."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _ignore(_: int, __: object) -> None:
    """Lets the signal's number go to the pipe and do nothing else."""


async def shut_down(executor: ThreadPoolExecutor) -> bool:
    """Ends the threads of the event loop, where a factory of a model may sleep.

    Returns:
        Whether they have ended in time.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        executor.shutdown()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    with suppress(TimeoutError):
        await asyncio.wait_for(ended.wait(), EXECUTOR_SECONDS)
    return ended.is_set()
