"""One answer of many."""

from dataclasses import dataclass

from adcaptum.client.errors import AdcaptumError
from adcaptum.client.results.explanations import Explanations


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to one of many requests, or the error in its place.

    Attributes:
        index: The place of the request among all.
        error: The error; None if there is an answer.
    """

    index: int
    error: AdcaptumError | None = None
    _explanations: Explanations | None = None

    @property
    def explanations(self) -> Explanations:
        """The explanations.

        Raises:
            AdcaptumError: The request failed.
        """
        if self._explanations is None:
            raise self.error or LookupError("there is neither an answer nor an error")
        return self._explanations
