"""Settings of PyTorch that all threads of the process share.

TF32 and deterministic kernels are switched on for the whole process, while batches of several
threads run side by side. A switch lets those run together that want the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Condition, Lock
from typing import Final

PATIENCE: Final = 1.0
"""The seconds for which one that waits keeps later ones waiting: what it waits for may never
end."""


class ProcessSwitch:
    """A setting of the process, held in one position by any number of threads at a time.

    Those that want the other position wait until all have left it, and keep later ones behind them
    meanwhile, so that neither position starves the other.
    """

    def __init__(self, position: Callable[[bool], AbstractContextManager[object]]) -> None:
        """Makes the switch.

        Args:
            position: Returns what sets a position, entered by the first thread that holds it, and
                left with the last.
        """
        self._position = position
        self._on = False
        self._holders = 0
        self._set = ExitStack()
        self._entry = Lock()
        self._left = Condition()

    def held(self, *, on: bool) -> AbstractContextManager[None]:
        """Returns what holds the setting in a position."""
        return _Held(self, on)

    def enter(self, *, on: bool) -> None:
        """Holds the setting in a position, until `leave`."""
        while not self._enter(on):
            pass

    def leave(self) -> None:
        """Holds it no more."""
        with self._left:
            self._holders -= 1
            if not self._holders:
                self._set.close()
                self._left.notify_all()

    def _enter(self, on: bool) -> bool:
        """Waits for a position for some time; returns whether it is held."""
        with self._entry, self._left:
            if not self._left.wait_for(lambda: on == self._on or not self._holders, PATIENCE):
                return False
            if not self._holders:
                self._set.enter_context(self._position(on))
                self._on = on
            self._holders += 1
            return True


class _Held(AbstractContextManager[None]):
    """One hold of a switch."""

    def __init__(self, switch: ProcessSwitch, on: bool) -> None:
        self._switch = switch
        self._on = on

    def __enter__(self) -> None:
        self._switch.enter(on=self._on)

    def __exit__(self, *_: object) -> None:
        self._switch.leave()
