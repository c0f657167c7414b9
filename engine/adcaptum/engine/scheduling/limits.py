"""Limits on the work in flight."""

from typing import Final, NamedTuple

from adcaptum.engine.scheduling.ledger import Account


class Excess(NamedTuple):
    """The limit that a new request would exceed.

    Attributes:
        unit: The counted unit: "requests", "rows" or "bytes".
        held: The amount in flight.
        limit: The amount allowed.
        over: The amount that has to end before there is room.
    """

    unit: str
    held: int
    limit: int
    over: int


class Limits(NamedTuple):
    """The most that may be in flight, for a caller or for all of them together; None: any.

    Attributes:
        requests: Number of requests.
        rows: Their rows.
        nbytes: The memory that they hold, in bytes.
    """

    requests: int | None = None
    rows: int | None = None
    nbytes: int | None = None

    def excess(self, held: Account, rows: int, nbytes: int, requests: int = 1) -> Excess | None:
        """Returns the limit that requests of these rows and bytes would exceed; None: none.

        An account with nothing in flight may always have one request: one that is larger than the
        limits would otherwise never get in, and its caller would try again for ever.

        Args:
            held: The work in flight.
            rows: The rows of the requests.
            nbytes: Their bytes.
            requests: Their number.
        """
        if not held.requests and requests == 1:
            return None
        if self.requests is not None and held.requests + requests > self.requests:
            over = held.requests + requests - self.requests
            return Excess("requests", held.requests, self.requests, over)
        if self.rows is not None and held.rows + rows > self.rows:
            return Excess("rows", held.rows, self.rows, held.rows + rows - self.rows)
        if self.nbytes is not None and held.nbytes + nbytes > self.nbytes:
            return Excess("bytes", held.nbytes, self.nbytes, held.nbytes + nbytes - self.nbytes)
        return None


ANY: Final = Limits()
"""No limits."""
