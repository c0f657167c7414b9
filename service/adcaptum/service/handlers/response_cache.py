"""The response cache: serialised answers, bounded in number and memory.

It drops the least recently used answers first.
"""

from collections import OrderedDict
from typing import Final

from adcaptum.service.metrics import Metrics

ENTRY_BYTES: Final = 256
"""The memory of an entry beside the answer: its key, its place, Python's objects."""


class ResponseCache:
    """A cache of serialised answers.

    Attributes:
        nbytes: The size of all entries, in bytes.
    """

    def __init__(self, max_bytes: int, max_entries: int, metrics: Metrics) -> None:
        """Prepares an empty cache.

        Args:
            max_bytes: The most memory.
            max_entries: The most answers.
            metrics: The counters of answers.
        """
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._evictions = metrics.cache_evictions
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()
        self.nbytes = 0
        metrics.cache_memory.set_function(lambda: self.nbytes)
        metrics.cache_entries.set_function(lambda: len(self._answers))

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: bytes) -> bytes | None:
        """Returns an answer and marks it as the most recently used."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: bytes, answer: bytes) -> None:
        """Keeps an answer, unless it alone exceeds the memory."""
        size = len(answer) + ENTRY_BYTES
        if size > self._max_bytes or not self._max_entries:
            return
        before = self._answers.pop(key, None)
        if before is not None:
            self.nbytes -= len(before) + ENTRY_BYTES
        self._answers[key] = answer
        self.nbytes += size
        while self.nbytes > self._max_bytes or len(self._answers) > self._max_entries:
            _, oldest = self._answers.popitem(last=False)
            self.nbytes -= len(oldest) + ENTRY_BYTES
            self._evictions.inc()
