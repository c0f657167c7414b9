"""Measured cells of a table, kept in a file: a long section is measured in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

LONE = -1
"""The number of clients of a cell of one client at a rate."""

BESIDE = -2
"""The number of clients of a cell of one client beside others."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one server did in one round.

    Attributes:
        rate: Answers a second.
        half: The median latency, in seconds.
        tail: The 99th percentile of it.
        cpu: The processor time of an answer, in seconds.
    """

    rate: float
    half: float
    tail: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The answers of all servers to one kind of request, in turns.

    Attributes:
        model: The model.
        kind: The methods, or what else is asked.
        clients: The clients; see `LONE` and `BESIDE`.
        rounds: For each round, the figures by server.
    """

    model: str
    kind: str
    clients: int
    rounds: Sequence[dict[str, Figures]]

    @property
    def servers(self) -> Sequence[str]:
        """The names of the servers, in the order of their turns."""
        return [*self.rounds[0]]

    def middle(self, server: str, field: str) -> float:
        """The median of a server's figure over the rounds."""
        return median(getattr(each[server], field) for each in self.rounds)

    def over(self, server: str, other: str, field: str) -> float:
        """The median over rounds of one server's figure over another's, measured beside it."""
        return median(
            getattr(each[server], field) / max(1e-9, getattr(each[other], field))
            for each in self.rounds
        )


class MeasuredCells:
    """The cells that have been measured, in memory or in a file of JSON lines."""

    def __init__(self, path: Path | None) -> None:
        """Reads those that a file has.

        Args:
            path: The file, which need not be there; None: nothing is kept.
        """
        self._path = path
        self._cells: dict[tuple[str, str, int], Cell] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                read = json.loads(line)
                rounds = [{k: Figures(**v) for k, v in each.items()} for each in read["rounds"]]
                self._put(Cell(read["model"], read["kind"], read["clients"], rounds))

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __contains__(self, place: tuple[str, str, int]) -> bool:
        return place in self._cells

    def add(self, cell: Cell) -> None:
        """Adds a cell, and appends it to the file."""
        self._put(cell)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(asdict(cell)) + "\n")

    def _put(self, cell: Cell) -> None:
        self._cells[cell.model, cell.kind, cell.clients] = cell
