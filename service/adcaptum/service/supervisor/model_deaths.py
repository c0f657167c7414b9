"""The deaths of workers that each model has caused, and the models that are out of service."""

from collections.abc import Iterable
from time import monotonic
from typing import Final

SUSPECT_SECONDS: Final = 60.0
"""The time for which a model is a suspect after it has ended a worker."""


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
        self._deaths: dict[str, list[float]] = {}

    def add(self, models: Iterable[str], cause: str) -> list[str]:
        """Counts a death.

        Args:
            models: The models whose code ran.
            cause: Why the worker ended.

        Returns:
            The models that are quarantined from now on.
        """
        now, new = monotonic(), []
        for model in models:
            recent = [at for at in self._deaths.get(model, ()) if now - at < self._seconds]
            recent.append(now)
            self._deaths[model] = recent
            if len(recent) >= self._most and model not in self.quarantined:
                self.quarantined[model] = (
                    f"it ended {len(recent)} workers, the last one by: {cause}"
                )
                new.append(model)
        return new

    def is_suspect(self, model: str) -> bool:
        """Returns whether a model has ended a worker within `SUSPECT_SECONDS`."""
        deaths = self._deaths.get(model)
        return deaths is not None and monotonic() - deaths[-1] < SUSPECT_SECONDS

    def forget(self) -> None:
        """Gives all models another chance."""
        self.quarantined.clear()
        self._deaths.clear()
