"""The deaths of workers that each model has caused, and the models that are out of service.

Several models may have run when a worker ended, of which one did it. A death counts against each of
them until another of them has had more: whoever ends workers is there each time, others only when
they happen to run. So nobody can have a model refused by ending the workers that it runs in.
"""

from collections import Counter, deque
from collections.abc import Iterable
from time import monotonic
from typing import Final

SUSPECT_SECONDS: Final = 60.0
"""The time for which a model is a suspect after it has ended a worker."""

MOST_KEPT: Final = 256
"""The most deaths that are kept, the latest ones."""


class ModelDeaths:
    """The count of deaths by model; a model with too many is quarantined.

    Attributes:
        quarantined: The reason of each model that is out of service.
    """

    def __init__(self, most: int, seconds: float) -> None:
        """Prepares the count.

        Args:
            most: The deaths with which a model is quarantined.
            seconds: The time in which they count.
        """
        self.quarantined: dict[str, str] = {}
        self._most = most
        self._seconds = seconds
        # When each was, and the models that ran; those of quarantined ones are left out.
        self._deaths: deque[tuple[float, frozenset[str]]] = deque(maxlen=MOST_KEPT)

    def add(self, models: Iterable[str], cause: str) -> list[str]:
        """Counts a death.

        Args:
            models: The models whose code ran.
            cause: Why the worker ended.

        Returns:
            The models that are quarantined from now on.
        """
        ran = frozenset(models)
        if not ran or not ran.isdisjoint(self.quarantined):
            return []
        self._deaths.append((monotonic(), ran))
        counts = self._counts()
        most = max(counts[model] for model in ran)
        culprits = [model for model in ran if counts[model] == most]
        if most < self._most or len(culprits) > 1:
            return []
        (model,) = culprits
        self.quarantined[model] = f"it ended {most} workers, the last one by: {cause}"
        kept = [each for each in self._deaths if model not in each[1]]
        self._deaths.clear()
        self._deaths.extend(kept)
        return [model]

    def is_suspect(self, model: str) -> bool:
        """Returns whether a model may have ended a worker within `SUSPECT_SECONDS`."""
        since = monotonic() - SUSPECT_SECONDS
        recent = [ran for at, ran in self._deaths if at > since and model in ran]
        if not recent:
            return False
        counts = self._counts()
        return any(counts[model] == max(counts[each] for each in ran) for ran in recent)

    def forget(self) -> None:
        """Gives all models another chance."""
        self.quarantined.clear()
        self._deaths.clear()

    def _counts(self) -> Counter[str]:
        """Returns how often each model ran when a worker ended."""
        since = monotonic() - self._seconds
        return Counter(model for at, ran in self._deaths if at > since for model in ran)
