"""The time for which a thread could have run and had no core, because others ran."""

import os


class RunDelay:
    """The delays of one thread, as Linux counts them: that which makes this object."""

    __slots__ = ("_file",)

    def __init__(self) -> None:
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1

    def seconds(self) -> float:
        """Returns the sum of all delays so far, in seconds; 0 where the system does not count."""
        if self._file < 0:
            return 0.0
        _, delay, *_ = os.pread(self._file, 64, 0).split()
        return int(delay) * 1e-9

    def close(self) -> None:
        """Counts no more: `seconds` returns 0 from now on."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
